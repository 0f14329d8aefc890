//! What we send: every reply, every event, the hello.

use std::fmt::Write as _;
use std::sync::Arc;

use expect_test::{Expect, expect};
use openclaw_gateway::base::limits::BOTH_BODIES_BYTES_MAX;
use openclaw_gateway::protocol::event::{Audience, EVENT_NAMES, Event, EventText, LogGap, View};
use openclaw_gateway::protocol::frame::write_ok;
use openclaw_gateway::protocol::hello::write_hello;
use openclaw_gateway::protocol::reply::{LogsPage, Reply, write_health, write_reply};
use openclaw_gateway::protocol::scope::ScopeSet;
use serde_json::Value;

use crate::samples::{events, hello, record, replies, written};

#[track_caller]
fn check(frames: impl IntoIterator<Item = String>, expected: &Expect) {
    let mut lines = String::new();
    for frame in frames {
        assert!(serde_json::from_str::<Value>(&frame).is_ok(), "no JSON: {frame}");
        writeln!(lines, "{frame}").unwrap();
    }
    expected.assert_eq(&lines);
}

#[test]
fn every_reply_is_what_it_was() {
    let frames =
        replies().into_iter().map(|(id, reply)| written(|out| write_reply(out, id, &reply)));
    check(
        frames,
        &expect![[r#"
            {"type":"res","id":"ping-1","ok":true}
            {"type":"res","id":"report-1","ok":true,"payload":{"firstCursor":123,"lastCursor":123},"result":{"firstCursor":123,"lastCursor":123}}
            {"type":"res","id":"tail-1","ok":true,"payload":{"entries":[{"id":"log-123","timestamp":1795373022123,"level":"info","source":"agent1","session":"agent1:chat","message":"Task completed successfully","extra":{"task_id":456},"cursor":123}],"lines":["2026-11-22T18:43:42.123Z INFO agent1 [agent1:chat] Task completed successfully"],"cursor":123,"truncated":false,"reset":false},"result":{"entries":[{"id":"log-123","timestamp":1795373022123,"level":"info","source":"agent1","session":"agent1:chat","message":"Task completed successfully","extra":{"task_id":456},"cursor":123}],"lines":["2026-11-22T18:43:42.123Z INFO agent1 [agent1:chat] Task completed successfully"],"cursor":123,"truncated":false,"reset":false}}
            {"type":"res","id":"status-1","ok":true,"payload":{"version":"0.1.0","uptimeMs":61000,"connections":{"operators":1,"agents":1},"sessions":0,"journal":{"entries":123,"bytes":24600},"store":{"healthy":true}},"result":{"version":"0.1.0","uptimeMs":61000,"connections":{"operators":1,"agents":1},"sessions":0,"journal":{"entries":123,"bytes":24600},"store":{"healthy":true}}}
            {"type":"res","id":"presence-1","ok":true,"payload":[{"host":"Mission Control","ip":"127.0.0.1","version":"2.3.0","platform":"web","mode":"ui","deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","roles":["operator"],"scopes":["operator.admin"],"instanceId":"mc-1795346722362","rttMs":0.431,"reason":"connect","ts":1795373022123},{"host":"agent1","ip":"10.0.0.7","version":"1.0.0","platform":"linux","mode":"backend","roles":["agent"],"scopes":[],"agent":"agent1","reason":"disconnect","ts":1795373022123}],"result":[{"host":"Mission Control","ip":"127.0.0.1","version":"2.3.0","platform":"web","mode":"ui","deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","roles":["operator"],"scopes":["operator.admin"],"instanceId":"mc-1795346722362","rttMs":0.431,"reason":"connect","ts":1795373022123},{"host":"agent1","ip":"10.0.0.7","version":"1.0.0","platform":"linux","mode":"backend","roles":["agent"],"scopes":[],"agent":"agent1","reason":"disconnect","ts":1795373022123}]}
            {"type":"res","id":"sessions-1","ok":true,"payload":{"sessions":[{"key":"agent1:chat","kind":"chat","model":"claude-sonnet-4","totalTokens":5432,"inputTokens":4000,"outputTokens":1432,"contextTokens":35000,"messageCount":12,"cost":0.42,"updatedAt":1795373022123,"active":true,"label":"Release notes","agent":"agent1"}],"count":1,"total":2,"nextCursor":"dQoxNzk1MzczMDIyMTIzCmFnZW50MTpjaGF0","ts":1795373022123},"result":{"sessions":[{"key":"agent1:chat","kind":"chat","model":"claude-sonnet-4","totalTokens":5432,"inputTokens":4000,"outputTokens":1432,"contextTokens":35000,"messageCount":12,"cost":0.42,"updatedAt":1795373022123,"active":true,"label":"Release notes","agent":"agent1"}],"count":1,"total":2,"nextCursor":"dQoxNzk1MzczMDIyMTIzCmFnZW50MTpjaGF0","ts":1795373022123}}
            {"type":"res","id":"session-1","ok":true,"payload":{"session":{"key":"agent1:chat","kind":"chat","model":"claude-sonnet-4","totalTokens":5432,"inputTokens":4000,"outputTokens":1432,"contextTokens":35000,"messageCount":12,"cost":0.42,"updatedAt":1795373022123,"active":true,"label":"Release notes","agent":"agent1","thinking":"high","createdAt":1795373022123}},"result":{"session":{"key":"agent1:chat","kind":"chat","model":"claude-sonnet-4","totalTokens":5432,"inputTokens":4000,"outputTokens":1432,"contextTokens":35000,"messageCount":12,"cost":0.42,"updatedAt":1795373022123,"active":true,"label":"Release notes","agent":"agent1","thinking":"high","createdAt":1795373022123}}}
            {"type":"res","id":"usage-1","ok":true,"payload":{"sessions":1,"totals":{"totalTokens":5432,"inputTokens":4000,"outputTokens":1432,"messageCount":12,"cost":0.42},"ts":1795373022123},"result":{"sessions":1,"totals":{"totalTokens":5432,"inputTokens":4000,"outputTokens":1432,"messageCount":12,"cost":0.42},"ts":1795373022123}}
            {"type":"res","id":"patch-1","ok":true,"payload":{"ok":true,"key":"agent1:chat","session":{"key":"agent1:chat","kind":"chat","model":"claude-sonnet-4","totalTokens":5432,"inputTokens":4000,"outputTokens":1432,"contextTokens":35000,"messageCount":12,"cost":0.42,"updatedAt":1795373022123,"active":true,"label":"Release notes","agent":"agent1","thinking":"high","createdAt":1795373022123}},"result":{"ok":true,"key":"agent1:chat","session":{"key":"agent1:chat","kind":"chat","model":"claude-sonnet-4","totalTokens":5432,"inputTokens":4000,"outputTokens":1432,"contextTokens":35000,"messageCount":12,"cost":0.42,"updatedAt":1795373022123,"active":true,"label":"Release notes","agent":"agent1","thinking":"high","createdAt":1795373022123}}}
            {"type":"res","id":"delete-1","ok":true,"payload":{"ok":true,"key":"agent1:chat","deleted":true},"result":{"ok":true,"key":"agent1:chat","deleted":true}}
            {"type":"res","id":"agents-1","ok":true,"payload":{"agents":[{"id":7,"name":"agent1","status":"busy","last_seen":1795373022,"last_activity":"Running the tests","connected":true}]},"result":{"agents":[{"id":7,"name":"agent1","status":"busy","last_seen":1795373022,"last_activity":"Running the tests","connected":true}]}}
            {"type":"res","id":"nodes-1","ok":true,"payload":{"ts":1795373022123,"nodes":[{"nodeId":"agent1","displayName":"agent1","platform":"linux","version":"1.0.0","remoteIp":"10.0.0.7","paired":false,"connected":true,"connectedAtMs":1795373022123}]},"result":{"ts":1795373022123,"nodes":[{"nodeId":"agent1","displayName":"agent1","platform":"linux","version":"1.0.0","remoteIp":"10.0.0.7","paired":false,"connected":true,"connectedAtMs":1795373022123}]}}
            {"type":"res","id":"config-1","ok":true,"payload":{"version":"0.1.0","config":{"gateway":{"auth":{"token":"***","deviceAuth":{"enabled":true,"requireSignature":true,"tokenTTL":86400,"maxDevicesPerUser":10}},"heartbeat":{"intervalSeconds":30,"missedMax":3},"limits":{"messageBytes":26214400,"backlogBytes":4194304,"journalEntries":100000,"journalBytes":33554432,"sessions":10000,"snapshotSessions":200,"tickMilliseconds":250}}},"redacted":true},"result":{"version":"0.1.0","config":{"gateway":{"auth":{"token":"***","deviceAuth":{"enabled":true,"requireSignature":true,"tokenTTL":86400,"maxDevicesPerUser":10}},"heartbeat":{"intervalSeconds":30,"missedMax":3},"limits":{"messageBytes":26214400,"backlogBytes":4194304,"journalEntries":100000,"journalBytes":33554432,"sessions":10000,"snapshotSessions":200,"tickMilliseconds":250}}},"redacted":true}}
            {"type":"res","id":"channels-1","ok":true,"payload":{"channels":{},"channelAccounts":{},"channelOrder":[],"channelLabels":{},"ts":1795373022123},"result":{"channels":{},"channelAccounts":{},"channelOrder":[],"channelLabels":{},"ts":1795373022123}}
            {"type":"res","id":"models-1","ok":true,"payload":{"models":[]},"result":{"models":[]}}
            {"type":"res","id":"heartbeat-1","ok":true,"payload":{"ts":1795373022123},"result":{"ts":1795373022123}}
            {"type":"res","id":"list-1","ok":true,"payload":{"pending":[{"clientId":"openclaw-control-ui","deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","displayName":"Mission Control","expiresAtMs":1795373322123,"platform":"web","publicKey":"SkIwxIpNpCv_7mHygF4GG-SqIK_wF4YvRZltYz3JURU","reason":"not-paired","remoteIp":"10.0.0.9","requestId":"pair-1","role":"operator","scopes":["operator.admin"],"ts":1795373022123}],"paired":[{"deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","status":"approved","connected":true,"user":"default","role":"operator","scopes":["operator.admin"],"displayName":"Mission Control","clientId":"openclaw-control-ui","platform":"web","remoteIp":"127.0.0.1","createdAtMs":1795373022123,"lastSeenMs":1795373022123,"tokens":[{"role":"operator","scopes":["operator.admin"],"issuedAtMs":1795373022123,"expiresAtMs":1795459422123}]}],"devices":[{"deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","status":"approved","connected":true,"user":"default","role":"operator","scopes":["operator.admin"],"displayName":"Mission Control","clientId":"openclaw-control-ui","platform":"web","remoteIp":"127.0.0.1","createdAtMs":1795373022123,"lastSeenMs":1795373022123,"tokens":[{"role":"operator","scopes":["operator.admin"],"issuedAtMs":1795373022123,"expiresAtMs":1795459422123}]},{"deviceId":"device-550e8400-e29b-41d4","status":"revoked","connected":false,"user":"default","role":"agent","scopes":[],"agent":"agent1","clientId":"agent1","platform":"linux","remoteIp":"10.0.0.7","createdAtMs":1795373022123,"lastSeenMs":1795373022123,"tokens":[]}],"total":2,"truncated":false},"result":{"pending":[{"clientId":"openclaw-control-ui","deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","displayName":"Mission Control","expiresAtMs":1795373322123,"platform":"web","publicKey":"SkIwxIpNpCv_7mHygF4GG-SqIK_wF4YvRZltYz3JURU","reason":"not-paired","remoteIp":"10.0.0.9","requestId":"pair-1","role":"operator","scopes":["operator.admin"],"ts":1795373022123}],"paired":[{"deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","status":"approved","connected":true,"user":"default","role":"operator","scopes":["operator.admin"],"displayName":"Mission Control","clientId":"openclaw-control-ui","platform":"web","remoteIp":"127.0.0.1","createdAtMs":1795373022123,"lastSeenMs":1795373022123,"tokens":[{"role":"operator","scopes":["operator.admin"],"issuedAtMs":1795373022123,"expiresAtMs":1795459422123}]}],"devices":[{"deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","status":"approved","connected":true,"user":"default","role":"operator","scopes":["operator.admin"],"displayName":"Mission Control","clientId":"openclaw-control-ui","platform":"web","remoteIp":"127.0.0.1","createdAtMs":1795373022123,"lastSeenMs":1795373022123,"tokens":[{"role":"operator","scopes":["operator.admin"],"issuedAtMs":1795373022123,"expiresAtMs":1795459422123}]},{"deviceId":"device-550e8400-e29b-41d4","status":"revoked","connected":false,"user":"default","role":"agent","scopes":[],"agent":"agent1","clientId":"agent1","platform":"linux","remoteIp":"10.0.0.7","createdAtMs":1795373022123,"lastSeenMs":1795373022123,"tokens":[]}],"total":2,"truncated":false}}
            {"type":"res","id":"approve-1","ok":true,"payload":{"requestId":"pair-1","device":{"deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","status":"approved","connected":true,"user":"default","role":"operator","scopes":["operator.admin"],"displayName":"Mission Control","clientId":"openclaw-control-ui","platform":"web","remoteIp":"127.0.0.1","createdAtMs":1795373022123,"lastSeenMs":1795373022123,"tokens":[{"role":"operator","scopes":["operator.admin"],"issuedAtMs":1795373022123,"expiresAtMs":1795459422123}]}},"result":{"requestId":"pair-1","device":{"deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","status":"approved","connected":true,"user":"default","role":"operator","scopes":["operator.admin"],"displayName":"Mission Control","clientId":"openclaw-control-ui","platform":"web","remoteIp":"127.0.0.1","createdAtMs":1795373022123,"lastSeenMs":1795373022123,"tokens":[{"role":"operator","scopes":["operator.admin"],"issuedAtMs":1795373022123,"expiresAtMs":1795459422123}]}}}
            {"type":"res","id":"reject-1","ok":true,"payload":{"requestId":"pair-1","deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce"},"result":{"requestId":"pair-1","deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce"}}
            {"type":"res","id":"remove-1","ok":true,"payload":{"deviceId":"device-550e8400-e29b-41d4","revokedAtMs":1795373022123},"result":{"deviceId":"device-550e8400-e29b-41d4","revokedAtMs":1795373022123}}
            {"type":"res","id":"forget-1","ok":true,"payload":{"deviceId":"device-550e8400-e29b-41d4"},"result":{"deviceId":"device-550e8400-e29b-41d4"}}
            {"type":"res","id":"code-1","ok":true,"payload":{"code":"K7WQ2MXH4C","expiresAtMs":1795373622123},"result":{"code":"K7WQ2MXH4C","expiresAtMs":1795373622123}}
            {"type":"res","id":"rotate-1","ok":true,"payload":{"deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","role":"operator","scopes":["operator.admin"],"rotatedAtMs":1795373022123,"token":"dt_469da4fc2cfcfb4343d3d123","expiresAtMs":1795459422123},"result":{"deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","role":"operator","scopes":["operator.admin"],"rotatedAtMs":1795373022123,"token":"dt_469da4fc2cfcfb4343d3d123","expiresAtMs":1795459422123}}
            {"type":"res","id":"rotate-2","ok":true,"payload":{"deviceId":"device-550e8400-e29b-41d4","role":"agent","scopes":[],"rotatedAtMs":1795373022123},"result":{"deviceId":"device-550e8400-e29b-41d4","role":"agent","scopes":[],"rotatedAtMs":1795373022123}}
            {"type":"res","id":"revoke-1","ok":true,"payload":{"deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","role":"operator","revokedAtMs":1795373022123},"result":{"deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","role":"operator","revokedAtMs":1795373022123}}
            {"type":"res","id":"clear-1","ok":true,"payload":{"cleared":3},"result":{"cleared":3}}
            {"type":"res","id":"cron-list-1","ok":true,"payload":{"jobs":[{"id":"job-1f2e3d4c5b6a7988","name":"Stand-up","enabled":true,"deleteAfterRun":false,"createdAtMs":1795373022123,"updatedAtMs":1795373022123,"schedule":{"kind":"cron","expr":"30 9 * * MON-FRI","tz":"Europe/Berlin"},"payload":{"kind":"systemEvent","text":"Stand-up in five minutes"},"missed":"skip","state":{"nextRunAtMs":1795459422123,"lastRunAtMs":1795373022123,"lastStatus":"ok","lastDurationMs":5,"consecutiveErrors":0}}],"total":1,"offset":0,"hasMore":false,"nextOffset":null},"result":{"jobs":[{"id":"job-1f2e3d4c5b6a7988","name":"Stand-up","enabled":true,"deleteAfterRun":false,"createdAtMs":1795373022123,"updatedAtMs":1795373022123,"schedule":{"kind":"cron","expr":"30 9 * * MON-FRI","tz":"Europe/Berlin"},"payload":{"kind":"systemEvent","text":"Stand-up in five minutes"},"missed":"skip","state":{"nextRunAtMs":1795459422123,"lastRunAtMs":1795373022123,"lastStatus":"ok","lastDurationMs":5,"consecutiveErrors":0}}],"total":1,"offset":0,"hasMore":false,"nextOffset":null}}
            {"type":"res","id":"cron-status-1","ok":true,"payload":{"enabled":true,"jobs":1,"maxJobs":500,"running":0,"maxConcurrentRuns":8,"timezone":"UTC","nextWakeAtMs":1795459422123},"result":{"enabled":true,"jobs":1,"maxJobs":500,"running":0,"maxConcurrentRuns":8,"timezone":"UTC","nextWakeAtMs":1795459422123}}
            {"type":"res","id":"cron-runs-1","ok":true,"payload":{"runs":[{"runId":"job-1f2e3d4c5b6a7988-2","jobId":"job-1f2e3d4c5b6a7988","trigger":"schedule","status":"ok","occurrenceAtMs":1795373022123,"count":1,"runAtMs":1795373022123,"endedAtMs":1795373022128,"durationMs":5},{"runId":"job-1f2e3d4c5b6a7988-1","jobId":"job-1f2e3d4c5b6a7988","trigger":"schedule","status":"missed","occurrenceAtMs":1795200222123,"lastOccurrenceAtMs":1795286622123,"count":2,"error":"the gateway was not running"}]},"result":{"runs":[{"runId":"job-1f2e3d4c5b6a7988-2","jobId":"job-1f2e3d4c5b6a7988","trigger":"schedule","status":"ok","occurrenceAtMs":1795373022123,"count":1,"runAtMs":1795373022123,"endedAtMs":1795373022128,"durationMs":5},{"runId":"job-1f2e3d4c5b6a7988-1","jobId":"job-1f2e3d4c5b6a7988","trigger":"schedule","status":"missed","occurrenceAtMs":1795200222123,"lastOccurrenceAtMs":1795286622123,"count":2,"error":"the gateway was not running"}]}}
            {"type":"res","id":"cron-add-1","ok":true,"payload":{"id":"job-1f2e3d4c5b6a7988","name":"Stand-up","enabled":true,"deleteAfterRun":false,"createdAtMs":1795373022123,"updatedAtMs":1795373022123,"schedule":{"kind":"cron","expr":"30 9 * * MON-FRI","tz":"Europe/Berlin"},"payload":{"kind":"systemEvent","text":"Stand-up in five minutes"},"missed":"skip","state":{"nextRunAtMs":1795459422123,"consecutiveErrors":0}},"result":{"id":"job-1f2e3d4c5b6a7988","name":"Stand-up","enabled":true,"deleteAfterRun":false,"createdAtMs":1795373022123,"updatedAtMs":1795373022123,"schedule":{"kind":"cron","expr":"30 9 * * MON-FRI","tz":"Europe/Berlin"},"payload":{"kind":"systemEvent","text":"Stand-up in five minutes"},"missed":"skip","state":{"nextRunAtMs":1795459422123,"consecutiveErrors":0}}}
            {"type":"res","id":"cron-remove-1","ok":true,"payload":{"ok":true,"id":"job-1f2e3d4c5b6a7988","removed":true},"result":{"ok":true,"id":"job-1f2e3d4c5b6a7988","removed":true}}
            {"type":"res","id":"cron-run-1","ok":true,"payload":{"ok":true,"ran":true,"id":"job-1f2e3d4c5b6a7988","runId":"job-1f2e3d4c5b6a7988-3"},"result":{"ok":true,"ran":true,"id":"job-1f2e3d4c5b6a7988","runId":"job-1f2e3d4c5b6a7988-3"}}
            {"type":"res","id":"cron-run-2","ok":true,"payload":{"ok":true,"ran":false,"id":"job-1f2e3d4c5b6a7988","reason":"already-running"},"result":{"ok":true,"ran":false,"id":"job-1f2e3d4c5b6a7988","reason":"already-running"}}
            {"type":"res","id":"chat-1","ok":true,"payload":{"runId":"8f14e45f","status":"started","sessionKey":"agent1:chat"},"result":{"runId":"8f14e45f","status":"started","sessionKey":"agent1:chat"}}
            {"type":"res","id":"chat-1","ok":true,"payload":{"runId":"8f14e45f","status":"in_flight","sessionKey":"agent1:chat"},"result":{"runId":"8f14e45f","status":"in_flight","sessionKey":"agent1:chat"}}
            {"type":"res","id":"chat-1","ok":true,"payload":{"runId":"8f14e45f","status":"ok","sessionKey":"agent1:chat"},"result":{"runId":"8f14e45f","status":"ok","sessionKey":"agent1:chat"}}
            {"type":"res","id":"agent-1","ok":true,"payload":{"runId":"8f14e45f","status":"accepted","acceptedAt":1795373022123,"sessionKey":"agent1:chat"},"result":{"runId":"8f14e45f","status":"accepted","acceptedAt":1795373022123,"sessionKey":"agent1:chat"}}
            {"type":"res","id":"agent-1","ok":true,"payload":{"runId":"8f14e45f","status":"ok","summary":"completed","result":{"payloads":[{"text":"It is green."}],"usage":{"input":1200,"output":345}},"sessionKey":"agent1:chat"},"result":{"runId":"8f14e45f","status":"ok","summary":"completed","result":{"payloads":[{"text":"It is green."}],"usage":{"input":1200,"output":345}},"sessionKey":"agent1:chat"}}
            {"type":"res","id":"agent-1","ok":false,"error":{"code":"UNAVAILABLE","message":"agent disconnected: agent1"},"payload":{"runId":"8f14e45f","status":"error","summary":"agent disconnected: agent1"}}
            {"type":"res","id":"wait-1","ok":true,"payload":{"runId":"8f14e45f","status":"ok","startedAt":1795373022123,"endedAt":1795373024623,"text":"It is green."},"result":{"runId":"8f14e45f","status":"ok","startedAt":1795373022123,"endedAt":1795373024623,"text":"It is green."}}
            {"type":"res","id":"wait-1","ok":true,"payload":{"runId":"8f14e45f","status":"error","startedAt":1795373022123,"endedAt":1795373024623,"error":"agent disconnected: agent1"},"result":{"runId":"8f14e45f","status":"error","startedAt":1795373022123,"endedAt":1795373024623,"error":"agent disconnected: agent1"}}
            {"type":"res","id":"wait-1","ok":true,"payload":{"runId":"8f14e45f","status":"timeout","startedAt":1795373022123},"result":{"runId":"8f14e45f","status":"timeout","startedAt":1795373022123}}
            {"type":"res","id":"history-1","ok":true,"payload":{"sessionKey":"agent1:chat","messages":[{"role":"user","content":"Is the build green?","timestamp":1795373022123,"runId":"8f14e45f","id":1795373022123},{"role":"assistant","content":"It is green.","timestamp":1795373022123,"runId":"8f14e45f","id":1795373022124}],"hasMore":false},"result":{"sessionKey":"agent1:chat","messages":[{"role":"user","content":"Is the build green?","timestamp":1795373022123,"runId":"8f14e45f","id":1795373022123},{"role":"assistant","content":"It is green.","timestamp":1795373022123,"runId":"8f14e45f","id":1795373022124}],"hasMore":false}}
            {"type":"res","id":"abort-1","ok":true,"payload":{"ok":true,"aborted":true,"runIds":["8f14e45f"]},"result":{"ok":true,"aborted":true,"runIds":["8f14e45f"]}}
            {"type":"res","id":"send-1","ok":true,"payload":{"ok":true,"runId":"8f14e45f","status":"sent","sessionKey":"agent1:chat"},"result":{"ok":true,"runId":"8f14e45f","status":"sent","sessionKey":"agent1:chat"}}
            {"type":"res","id":"approval-1","ok":true,"payload":{"id":"ap-1","decision":"allow-once","resolvedBy":"ann","createdAtMs":1795373022123,"expiresAtMs":1795373142123},"result":{"id":"ap-1","decision":"allow-once","resolvedBy":"ann","createdAtMs":1795373022123,"expiresAtMs":1795373142123}}
            {"type":"res","id":"approval-1","ok":true,"payload":{"id":"ap-1","decision":"deny","reason":"nobody decided in time","createdAtMs":1795373022123,"expiresAtMs":1795373142123},"result":{"id":"ap-1","decision":"deny","reason":"nobody decided in time","createdAtMs":1795373022123,"expiresAtMs":1795373142123}}
            {"type":"res","id":"approval-2","ok":true,"payload":{"status":"accepted","id":"ap-1","createdAtMs":1795373022123,"expiresAtMs":1795373142123},"result":{"status":"accepted","id":"ap-1","createdAtMs":1795373022123,"expiresAtMs":1795373142123}}
            {"type":"res","id":"resolve-1","ok":true,"payload":{"ok":true,"id":"ap-1","decision":"allow-once","resolvedBy":"ann"},"result":{"ok":true,"id":"ap-1","decision":"allow-once","resolvedBy":"ann"}}
            {"type":"res","id":"allowed-1","ok":true,"payload":{"pending":[{"id":"ap-1","request":{"command":"rm -r build","cwd":"/srv/project","host":"gateway","resolvedPath":"/usr/bin/rm","agentId":"agent1","sessionKey":"agent1:chat"},"createdAtMs":1795373022123,"expiresAtMs":1795373142123}],"allowed":[{"id":"al-5f2c8d1e0b7a4c3d9e6f102a3b4c5d6e","agentId":"agent1","command":"make test","cwd":"/srv/project","allowedBy":"ann","createdAtMs":1795373022123}],"truncated":false},"result":{"pending":[{"id":"ap-1","request":{"command":"rm -r build","cwd":"/srv/project","host":"gateway","resolvedPath":"/usr/bin/rm","agentId":"agent1","sessionKey":"agent1:chat"},"createdAtMs":1795373022123,"expiresAtMs":1795373142123}],"allowed":[{"id":"al-5f2c8d1e0b7a4c3d9e6f102a3b4c5d6e","agentId":"agent1","command":"make test","cwd":"/srv/project","allowedBy":"ann","createdAtMs":1795373022123}],"truncated":false}}
            {"type":"res","id":"allowed-2","ok":true,"payload":{"ok":true,"id":"al-5f2c8d1e0b7a4c3d9e6f102a3b4c5d6e","removed":true},"result":{"ok":true,"id":"al-5f2c8d1e0b7a4c3d9e6f102a3b4c5d6e","removed":true}}
            {"type":"res","id":"spawn-1","ok":true,"payload":{"id":"spawn-1","spawnId":"sp-90ab12cd34ef5678","status":"running","pid":12345},"result":{"id":"spawn-1","spawnId":"sp-90ab12cd34ef5678","status":"running","pid":12345}}
            {"type":"res","id":"spawn-2","ok":true,"payload":{"id":"spawn-2","spawnId":"sp-fedcba9876543210","status":"failed","pid":null,"error":"pyhton is not found in the gateway's PATH"},"result":{"id":"spawn-2","spawnId":"sp-fedcba9876543210","status":"failed","pid":null,"error":"pyhton is not found in the gateway's PATH"}}
            {"type":"res","id":"task-1","ok":true,"payload":{"sessionId":"agent1:sp-0123456789abcdef","runId":"sp-0123456789abcdef","spawnId":"sp-0123456789abcdef","status":"running","pid":12345},"result":{"sessionId":"agent1:sp-0123456789abcdef","runId":"sp-0123456789abcdef","spawnId":"sp-0123456789abcdef","status":"running","pid":12345}}
            {"type":"res","id":"spawns-1","ok":true,"payload":{"spawns":[{"id":"spawn-1","spawnId":"sp-90ab12cd34ef5678","status":"running","pid":12345,"completedAt":null,"result":null,"error":null,"command":"python","agent":"agent1","session":"agent1:chat","createdAt":1795373022123,"startedAt":1795373022127}]},"result":{"spawns":[{"id":"spawn-1","spawnId":"sp-90ab12cd34ef5678","status":"running","pid":12345,"completedAt":null,"result":null,"error":null,"command":"python","agent":"agent1","session":"agent1:chat","createdAt":1795373022123,"startedAt":1795373022127}]}}
            {"type":"res","id":"cancel-1","ok":true,"payload":{"id":"spawn-1","spawnId":"sp-90ab12cd34ef5678","status":"running","pid":12345},"result":{"id":"spawn-1","spawnId":"sp-90ab12cd34ef5678","status":"running","pid":12345}}
            {"type":"res","id":"kill-1","ok":true,"payload":{"ok":true,"sessionKey":"agent1:chat","killed":true,"spawns":1},"result":{"ok":true,"sessionKey":"agent1:chat","killed":true,"spawns":1}}
        "#]],
    );
}

#[test]
fn health_tells_life_and_readiness() {
    check(
        [written(|out| write_health(out, "h", true)), written(|out| write_health(out, "h", false))],
        &expect![[r#"
            {"type":"res","id":"h","ok":true,"payload":{"ok":true,"status":"live","ready":true},"result":{"ok":true,"status":"live","ready":true}}
            {"type":"res","id":"h","ok":true,"payload":{"ok":true,"status":"live","ready":false},"result":{"ok":true,"status":"live","ready":false}}
        "#]],
    );
}

#[test]
fn every_event_is_what_it_was() {
    let frames = events()
        .into_iter()
        .map(|event| written(|out| event.write(out, View::Full, event.is_stream().then_some(42))));
    check(
        frames,
        &expect![[r#"
            {"type":"event","event":"log","payload":{"id":"log-123","timestamp":1795373022123,"level":"info","source":"agent1","session":"agent1:chat","message":"Task completed successfully","extra":{"task_id":456},"cursor":123},"seq":42}
            {"type":"event","event":"tick","payload":{"ts":1795373022123,"snapshot":{"sessions":[{"key":"agent1:chat","kind":"chat","model":"claude-sonnet-4","totalTokens":5432,"inputTokens":4000,"outputTokens":1432,"contextTokens":35000,"messageCount":12,"cost":0.42,"updatedAt":1795373022123,"active":true,"label":"Release notes","agent":"agent1"}],"total":1,"truncated":false}}}
            {"type":"event","event":"presence","payload":{"presence":[{"host":"Mission Control","ip":"127.0.0.1","version":"2.3.0","platform":"web","mode":"ui","deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","roles":["operator"],"scopes":["operator.admin"],"instanceId":"mc-1795346722362","reason":"connect","ts":1795373022123},{"host":"agent1","ip":"10.0.0.7","version":"1.0.0","platform":"linux","mode":"backend","roles":["agent"],"scopes":[],"agent":"agent1","reason":"disconnect","ts":1795373022123}]},"stateVersion":{"presence":2,"health":1}}
            {"type":"event","event":"log.gap","payload":{"fromCursor":100,"toCursor":122,"dropped":22}}
            {"type":"event","event":"shutdown","payload":{"reason":"service restart","restartExpectedMs":5000}}
            {"type":"event","event":"device.pair.requested","payload":{"clientId":"openclaw-control-ui","deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","displayName":"Mission Control","expiresAtMs":1795373322123,"platform":"web","publicKey":"SkIwxIpNpCv_7mHygF4GG-SqIK_wF4YvRZltYz3JURU","reason":"not-paired","remoteIp":"10.0.0.9","requestId":"pair-1","role":"operator","scopes":["operator.admin"],"ts":1795373022123},"seq":42}
            {"type":"event","event":"device.pair.resolved","payload":{"decision":"approved","deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","requestId":"pair-1","ts":1795373022123},"seq":42}
            {"type":"event","event":"agent.status","payload":{"id":7,"name":"agent1","status":"busy","last_seen":1795373022,"last_activity":"Running the tests"},"seq":42}
            {"type":"event","event":"cron","payload":{"action":"finished","jobId":"job-1f2e3d4c5b6a7988","status":"ok","runAtMs":1795373022123,"nextRunAtMs":1795459422123,"runId":"job-1f2e3d4c5b6a7988-2"},"seq":42}
            {"type":"event","event":"spawn_result","payload":{"id":"spawn-1","spawnId":"sp-90ab12cd34ef5678","status":"running","pid":12345,"completedAt":null,"result":null,"error":null},"seq":42}
            {"type":"event","event":"spawn_result","payload":{"id":"spawn-1","spawnId":"sp-90ab12cd34ef5678","status":"completed","pid":12345,"completedAt":1795373022123,"result":{"exitCode":0},"error":null},"seq":42}
            {"type":"event","event":"notification","payload":{"created_at":1795373022,"id":5,"message":"Task 456 is done","recipient":"operator","source_id":456,"source_type":"task","title":"Done","type":"info","agentId":"agent1","source":"agent1"},"seq":42}
            {"type":"event","event":"tool.stream","payload":{"args":{"command":"make test"},"conversation_id":"agent1:chat","durationMs":1250,"id":"call-1","output":"ok","status":"completed","timestamp":1795373022123,"toolName":"shell","agentId":"agent1","source":"agent1"},"seq":42}
            {"type":"event","event":"context.compaction","payload":{"percentage":62,"sessionKey":"agent1:chat","agentId":"agent1","source":"agent1"},"seq":42}
            {"type":"event","event":"model.fallback","payload":{"from":"claude-opus-4","to":"claude-sonnet-4","agentId":"agent1","source":"agent1"},"seq":42}
            {"type":"event","event":"token_usage","payload":{"inputTokens":1200,"outputTokens":345,"sessionKey":"agent1:chat","agentId":"agent1","source":"agent1"},"seq":42}
            {"type":"event","event":"agent.request","payload":{"runId":"8f14e45f","sessionKey":"agent1:chat","kind":"message","message":"Is the build green?","model":"claude-opus-4","attachments":[{"type":"image","mimeType":"image/png","fileName":"a.png","content":"iVBORw0KGgo="}]}}
            {"type":"event","event":"agent.request","payload":{"runId":"8f14e45f","sessionKey":"agent1:chat","kind":"control","message":"abort"}}
            {"type":"event","event":"chat","payload":{"runId":"8f14e45f","sessionKey":"agent1:chat","seq":2,"state":"delta","message":{"role":"assistant","content":"It is ","timestamp":1795373022123}},"seq":42}
            {"type":"event","event":"chat","payload":{"runId":"8f14e45f","sessionKey":"agent1:chat","seq":4,"state":"final","message":{"role":"assistant","content":"It is green.","timestamp":1795373022123},"usage":{"input":1200,"output":345}},"seq":42}
            {"type":"event","event":"chat","payload":{"runId":"8f14e45f","sessionKey":"agent1:chat","seq":4,"state":"error","errorMessage":"no model answers"},"seq":42}
            {"type":"event","event":"chat","payload":{"runId":"8f14e45f","sessionKey":"agent1:chat","seq":4,"state":"aborted","errorMessage":"aborted"},"seq":42}
            {"type":"event","event":"chat.message","payload":{"id":1795373022123,"conversation_id":"agent1:chat","from_agent":"agent1","to_agent":"default","content":"It is green.","message_type":"text","created_at":1795373022,"runId":"8f14e45f"},"seq":42}
            {"type":"event","event":"agent","payload":{"runId":"8f14e45f","seq":1,"stream":"lifecycle","ts":1795373022123,"data":{"phase":"start","startedAt":1795373022123},"sessionKey":"agent1:chat"},"seq":42}
            {"type":"event","event":"agent","payload":{"runId":"8f14e45f","seq":2,"stream":"assistant","ts":1795373022123,"data":{"delta":"It is "},"sessionKey":"agent1:chat"},"seq":42}
            {"type":"event","event":"agent","payload":{"runId":"8f14e45f","seq":4,"stream":"lifecycle","ts":1795373022123,"data":{"phase":"end","endedAt":1795373022123},"sessionKey":"agent1:chat"},"seq":42}
            {"type":"event","event":"agent","payload":{"runId":"8f14e45f","seq":4,"stream":"lifecycle","ts":1795373022123,"data":{"phase":"end","endedAt":1795373022123,"aborted":true},"sessionKey":"agent1:chat"},"seq":42}
            {"type":"event","event":"agent","payload":{"runId":"8f14e45f","seq":4,"stream":"lifecycle","ts":1795373022123,"data":{"phase":"error","endedAt":1795373022123,"error":"no model answers"},"sessionKey":"agent1:chat"},"seq":42}
            {"type":"event","event":"exec.approval.requested","payload":{"id":"ap-1","request":{"command":"rm -r build","cwd":"/srv/project","host":"gateway","resolvedPath":"/usr/bin/rm","agentId":"agent1","sessionKey":"agent1:chat"},"createdAtMs":1795373022123,"expiresAtMs":1795373142123},"seq":42}
            {"type":"event","event":"exec.approval.resolved","payload":{"id":"ap-1","decision":"allow-once","resolvedBy":"ann","ts":1795373022123},"seq":42}
        "#]],
    );
}

#[test]
fn a_peer_without_read_scope_sees_only_the_time_of_a_tick() {
    let bare = events()
        .into_iter()
        .filter(Event::depends_on_view)
        .map(|event| written(|out| event.write(out, View::Bare, None)));
    check(
        bare,
        &expect![[r#"
        {"type":"event","event":"tick","payload":{"ts":1795373022123}}
    "#]],
    );
    for event in events() {
        let full = EventText::encode(&event, View::Full);
        let bare = EventText::encode(&event, View::Bare);
        assert_eq!(full != bare, event.depends_on_view(), "{}", event.name());
    }
    assert_eq!(View::of(ScopeSet::NONE), View::Bare);
    assert_eq!(View::of(ScopeSet::PAIRING), View::Bare);
    assert_eq!(View::of(ScopeSet::WRITE), View::Full);
}

#[test]
fn one_encoding_serves_every_stream() {
    for event in events() {
        let text = EventText::encode(&event, View::Full);
        for seq in [None, Some(0), Some(9), Some(u64::MAX)] {
            let finished = written(|out| text.write(out, seq));
            assert_eq!(finished, written(|out| event.write(out, View::Full, seq)));
            assert!(finished.len() <= text.len_max());
            let frame: Value = serde_json::from_str(&finished).unwrap();
            assert_eq!(frame["event"], event.name());
            assert_eq!(frame.get("seq").and_then(Value::as_u64), seq);
        }
    }
}

#[test]
fn every_event_has_its_audience_and_its_kind() {
    let mut table = String::new();
    for event in events() {
        let audience = match event.audience() {
            Audience::Nobody => "nobody".to_owned(),
            Audience::Everyone => "everyone".to_owned(),
            Audience::Scope(scope) => scope.to_string(),
        };
        let kind = match (event.is_state(), event.is_stream()) {
            (true, false) => "state",
            (false, true) => "stream",
            (false, false) => "addressed",
            (true, true) => panic!("a state that is numbered"),
        };
        writeln!(table, "{} {audience} {kind}", event.name()).unwrap();
        assert!(EVENT_NAMES.contains(&event.name()));
    }
    expect![[r#"
        log operator.read stream
        tick everyone state
        presence operator.read state
        log.gap operator.read addressed
        shutdown everyone addressed
        device.pair.requested operator.pairing stream
        device.pair.resolved operator.pairing stream
        agent.status operator.read stream
        cron operator.read stream
        spawn_result operator.read stream
        spawn_result operator.read stream
        notification operator.read stream
        tool.stream operator.read stream
        context.compaction operator.read stream
        model.fallback operator.read stream
        token_usage operator.read stream
        agent.request nobody addressed
        agent.request nobody addressed
        chat operator.read stream
        chat operator.read stream
        chat operator.read stream
        chat operator.read stream
        chat.message operator.read stream
        agent operator.read stream
        agent operator.read stream
        agent operator.read stream
        agent operator.read stream
        agent operator.read stream
        exec.approval.requested operator.approvals stream
        exec.approval.resolved operator.approvals stream
    "#]]
    .assert_eq(&table);
    assert!(Audience::Scope(ScopeSet::READ).includes(ScopeSet::ADMIN));
    assert!(!Audience::Scope(ScopeSet::PAIRING).includes(ScopeSet::WRITE));
    assert!(Audience::Everyone.includes(ScopeSet::NONE));
}

#[test]
fn a_gap_without_log_entries_names_no_cursor() {
    let event = Event::LogGap(LogGap { from_cursor: None, to_cursor: None, dropped: 3 });
    check(
        [written(|out| event.write(out, View::Full, None))],
        &expect![[r#"
            {"type":"event","event":"log.gap","payload":{"dropped":3}}
        "#]],
    );
}

#[test]
fn the_hello_holds_what_the_seed_and_what_openclaw_clients_read() {
    let mut without_token = hello();
    without_token.token = None;
    without_token.protocol = 4;
    without_token.auth_mode = "token";
    check(
        [
            written(|out| write_hello(out, &hello())),
            written(|out| write_hello(out, &without_token)),
        ],
        &expect![[r#"
            {"type":"res","id":"mc-1","ok":true,"result":{"protocol":3,"sessionId":"gateway-session-7","deviceToken":"dt_469da4fc2cfcfb4343d3d123","features":["spawn","cron","logs"]},"payload":{"type":"hello-ok","protocol":3,"server":{"version":"0.1.0","connId":"conn-7"},"features":{"methods":["ping","logs.append","logs.tail","health","status","system-presence","device.pair.list","device.pair.approve","device.pair.reject","device.pair.remove","device.token.rotate","device.token.revoke","device.pair.forget","device.pair.code","auth.rateLimit.clear","spawn","sessions_spawn","spawn.list","spawn.logs","spawn.cancel","sessions_kill","session.update","session.usage","agent.status","events.publish","logs.subscribe","sessions.list","sessions.get","sessions.usage","sessions.patch","sessions.reset","sessions.delete","agents.list","node.list","config.get","channels.status","models.list","last-heartbeat","cron.list","cron.status","cron.runs","cron.add","cron.update","cron.remove","cron.run","chat.send","chat.history","chat.abort","agent","agent.wait","sessions.send","run.update","exec.approval.request","exec.approval.waitDecision","exec.approval.resolve","exec.approvals.list","exec.approvals.remove"],"events":["connect.challenge","log","tick","presence","log.gap","shutdown","device.pair.requested","device.pair.resolved","agent.status","cron","agent.request","chat","chat.message","agent","exec.approval.requested","exec.approval.resolved","spawn_result","notification","tool.stream","context.compaction","model.fallback","token_usage"]},"snapshot":{"presence":[{"host":"Mission Control","ip":"127.0.0.1","version":"2.3.0","platform":"web","mode":"ui","deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","roles":["operator"],"scopes":["operator.admin"],"instanceId":"mc-1795346722362","reason":"connect","ts":1795373022123},{"host":"agent1","ip":"10.0.0.7","version":"1.0.0","platform":"linux","mode":"backend","roles":["agent"],"scopes":[],"agent":"agent1","reason":"disconnect","ts":1795373022123}],"health":{"ok":true},"stateVersion":{"presence":2,"health":1},"uptimeMs":61000,"authMode":"device"},"auth":{"deviceToken":"dt_469da4fc2cfcfb4343d3d123","role":"operator","scopes":["operator.admin"],"issuedAtMs":1795373022123,"expiresAtMs":1795459422123},"policy":{"maxPayload":26214400,"maxBufferedBytes":4194304,"tickIntervalMs":30000}}}
            {"type":"res","id":"mc-1","ok":true,"result":{"protocol":4,"sessionId":"gateway-session-7","features":["spawn","cron","logs"]},"payload":{"type":"hello-ok","protocol":4,"server":{"version":"0.1.0","connId":"conn-7"},"features":{"methods":["ping","logs.append","logs.tail","health","status","system-presence","device.pair.list","device.pair.approve","device.pair.reject","device.pair.remove","device.token.rotate","device.token.revoke","device.pair.forget","device.pair.code","auth.rateLimit.clear","spawn","sessions_spawn","spawn.list","spawn.logs","spawn.cancel","sessions_kill","session.update","session.usage","agent.status","events.publish","logs.subscribe","sessions.list","sessions.get","sessions.usage","sessions.patch","sessions.reset","sessions.delete","agents.list","node.list","config.get","channels.status","models.list","last-heartbeat","cron.list","cron.status","cron.runs","cron.add","cron.update","cron.remove","cron.run","chat.send","chat.history","chat.abort","agent","agent.wait","sessions.send","run.update","exec.approval.request","exec.approval.waitDecision","exec.approval.resolve","exec.approvals.list","exec.approvals.remove"],"events":["connect.challenge","log","tick","presence","log.gap","shutdown","device.pair.requested","device.pair.resolved","agent.status","cron","agent.request","chat","chat.message","agent","exec.approval.requested","exec.approval.resolved","spawn_result","notification","tool.stream","context.compaction","model.fallback","token_usage"]},"snapshot":{"presence":[{"host":"Mission Control","ip":"127.0.0.1","version":"2.3.0","platform":"web","mode":"ui","deviceId":"d30fef5b7c189fbbeb6d11f6d637c0e300e03703c25bfab4e4241dd7c4f710ce","roles":["operator"],"scopes":["operator.admin"],"instanceId":"mc-1795346722362","reason":"connect","ts":1795373022123},{"host":"agent1","ip":"10.0.0.7","version":"1.0.0","platform":"linux","mode":"backend","roles":["agent"],"scopes":[],"agent":"agent1","reason":"disconnect","ts":1795373022123}],"health":{"ok":true},"stateVersion":{"presence":2,"health":1},"uptimeMs":61000,"authMode":"token"},"auth":{"role":"operator","scopes":["operator.admin"]},"policy":{"maxPayload":26214400,"maxBufferedBytes":4194304,"tickIntervalMs":30000}}}
        "#]],
    );
}

#[test]
fn a_long_page_stands_under_payload_only() {
    let page = |count| {
        Reply::LogsTail(LogsPage {
            entries: vec![record(); count],
            cursor: record().cursor,
            truncated: true,
            reset: true,
        })
    };
    for (count, both) in [(1, true), (1_000, false)] {
        let frame = written(|out| write_reply(out, "1", &page(count)));
        let frame: Value = serde_json::from_str(&frame).unwrap();
        assert_eq!(frame["payload"]["entries"].as_array().unwrap().len(), count);
        assert_eq!(frame["payload"]["lines"].as_array().unwrap().len(), count);
        assert_eq!(frame.get("result").is_some(), both);
        assert_eq!(both, frame["payload"].to_string().len() <= BOTH_BODIES_BYTES_MAX);
    }
}

#[test]
fn an_id_is_repeated_exactly_whatever_it_holds() {
    for id in ["1", "a\"b\\c", "\u{0}\n", "é🦀", "\u{2028}"] {
        let frame: Value = serde_json::from_str(&written(|out| write_ok(out, id))).unwrap();
        assert_eq!(frame["id"], id);
    }
}

#[test]
fn encoders_append_to_what_the_caller_reserved() {
    let reserved = [0_u8; 10];
    let appended = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = reserved.to_vec();
        write(&mut out);
        assert_eq!(&out[..10], &reserved);
        String::from_utf8(out.split_off(10)).unwrap()
    };
    for (id, reply) in replies() {
        let alone = written(|out| write_reply(out, id, &reply));
        assert_eq!(appended(&|out| write_reply(out, id, &reply)), alone);
    }
    for event in events() {
        let alone = written(|out| event.write(out, View::Full, None));
        assert_eq!(appended(&|out| event.write(out, View::Full, None)), alone);
    }
    let alone = written(|out| write_hello(out, &hello()));
    assert_eq!(appended(&|out| write_hello(out, &hello())), alone);
    let presence: Arc<[_]> = Arc::new([]);
    assert!(
        appended(&|out| write_reply(out, "1", &Reply::Presence(Arc::clone(&presence))))
            .contains(r#""payload":[]"#)
    );
}
