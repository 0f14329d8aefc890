//! `report`: what agents say, so that a shell script can be one.
//!
//! Owns the words; `report_lines` owns reporting a stream. Called by `client::run`.

mod lines;
mod members;

use self::members::Members;
use super::connection::Connection;
use super::failure::Failure;
use super::login::Login;
use super::options::{self, Options, Surroundings};
use super::words::{Word, Words, unexpected, unknown_option, unknown_word};

/// What an option's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Key,
    Count,
    Decimal,
    YesNo,
    Object,
}

/// An option: what is reported with it, its name, the member that it becomes, and its value.
type Field = (&'static [&'static str], &'static str, &'static str, Kind);

const FIELDS: [Field; 21] = [
    (&["log"], "level", "level", Kind::Text),
    (&["log"], "session", "session", Kind::Key),
    (&["log"], "source", "source", Kind::Text),
    (&["log"], "timestamp", "timestamp", Kind::Count),
    (&["log"], "extra", "extra", Kind::Object),
    (&["session"], "kind", "kind", Kind::Text),
    (&["session", "usage"], "model", "model", Kind::Text),
    (&["session"], "label", "label", Kind::Text),
    (&["session"], "total-tokens", "totalTokens", Kind::Count),
    (&["session"], "context-tokens", "contextTokens", Kind::Count),
    (&["session"], "message-count", "messageCount", Kind::Count),
    (&["session"], "active", "active", Kind::YesNo),
    (&["session", "usage"], "input-tokens", "inputTokens", Kind::Count),
    (&["session", "usage"], "output-tokens", "outputTokens", Kind::Count),
    (&["session", "usage"], "cost", "cost", Kind::Decimal),
    (&["usage"], "messages", "messages", Kind::Count),
    (&["status"], "id", "id", Kind::Count),
    (&["status"], "name", "name", Kind::Text),
    (&["status"], "last-activity", "last_activity", Kind::Text),
    (&["session", "usage", "status", "event"], "key", "idempotencyKey", Kind::Text),
    (&["log"], "key", "idempotencyKey", Kind::Text),
];

const ACTIONS: &[&str] = &["log", "session", "usage", "status", "event"];

/// What was typed.
#[derive(Debug, Default)]
struct Report {
    action: Option<&'static str>,
    members: Members,
    words: Vec<String>,
}

pub(super) fn run(mut words: Words, around: &Surroundings) -> Result<(), Failure> {
    let mut options = Options::default();
    let report = parse(&mut words, &mut options)?;
    let action = report
        .action
        .ok_or_else(|| Failure::Usage(format!("what to report: {}", ACTIONS.join(", "))))?;
    let stream = action == "log" && report.words.is_empty();
    let started = options.started(around).cloned();
    let session = started.as_ref().and_then(|started| started.session.as_deref());
    let (method, params) = request(action, report, options.agent.as_deref(), session)?;
    let target = options.target(around, false)?;
    let login = match started {
        Some(started) => Login::Started(started),
        None => options.login(around, &target)?,
    };
    let mut screen = options.screen(around, false);
    if stream {
        return lines::report(&target, &login, options.timeout(), &params);
    }
    let mut connection = Connection::open(&target, &login, options.timeout())?;
    let body = connection.ask(method, &params)?;
    if screen.json {
        screen.json_line(body.get())?;
        screen.flush()?;
    }
    connection.close();
    Ok(())
}

fn parse(words: &mut Words, options: &mut Options) -> Result<Report, Failure> {
    let mut report = Report::default();
    while let Some(word) = words.next()? {
        match (word, report.action) {
            (Word::Option(name), _) if options.take(&name, words)? => {}
            (Word::Option(name), _) if name == "agent" => options.take_agent(words)?,
            (Word::Option(name), action) => {
                let action = action.unwrap_or_default();
                let known = fields(action).map(|(_, option, ..)| *option);
                let known: Vec<_> = known.chain(["agent"]).collect();
                let field = fields(action).find(|(_, option, ..)| *option == name);
                let (_, option, member, kind) =
                    field.ok_or_else(|| unknown_option(&name, &[options::NAMES, &known]))?;
                take(&mut report.members, words, option, member, *kind)?;
            }
            (Word::Plain(word), None) => {
                let action = ACTIONS.iter().find(|action| **action == word);
                report.action =
                    Some(action.ok_or_else(|| unknown_word("kind of report", &word, ACTIONS))?);
            }
            (Word::Plain(word), Some(_)) => report.words.push(word),
        }
    }
    Ok(report)
}

/// The options that go with an action.
fn fields(action: &str) -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(move |(actions, ..)| actions.contains(&action))
}

fn take(
    members: &mut Members,
    words: &mut Words,
    option: &str,
    member: &'static str,
    kind: Kind,
) -> Result<(), Failure> {
    match kind {
        Kind::Text | Kind::Key => members.text(member, &words.value()?),
        Kind::Count => {
            let number = words.number(option)?;
            members.json(member, number.to_string());
        }
        Kind::Decimal => {
            let allowed = "a number such as 0.0042";
            members.json(member, words.parsed(option, allowed, decimal)?);
        }
        Kind::YesNo => {
            let parse = |text: &str| text.parse::<bool>().ok();
            members.json(member, words.parsed(option, "true or false", parse)?.to_string());
        }
        Kind::Object => members.json(member, words.parsed(option, "a JSON object", object)?),
    }
    Ok(())
}

/// The digits as typed: a cost is not rounded on its way.
fn decimal(text: &str) -> Option<String> {
    let number: Option<serde_json::Number> = serde_json::from_str(text).ok();
    number.map(|_| text.trim().to_owned())
}

fn object(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    value.is_object().then(|| text.to_owned())
}

/// The method and its parameters. `session` is that of a program that a gateway started: what it
/// reports is about that unless it says otherwise. A stream of lines gets those of every one of its entries.
fn request(
    action: &'static str,
    report: Report,
    agent: Option<&str>,
    session: Option<&str>,
) -> Result<(&'static str, Members), Failure> {
    let Report { mut members, words, .. } = report;
    let mut words = words.into_iter();
    let mut next = |what: &str| {
        let missing = || Failure::Usage(format!("report {action} needs {what}"));
        words.next().ok_or_else(missing)
    };
    match action {
        "log" => {
            members.rewrite("session", |key| own_key(agent, key));
            members.default_text("level", "info");
            let message: Vec<_> = words.collect();
            if message.is_empty() {
                return Ok(("logs.append", members));
            }
            members.text("message", &message.join(" "));
            let key = members.take("idempotencyKey");
            let mut params = Members::entries([members.encode()]);
            params.extend(key);
            return Ok(("logs.append", params));
        }
        "session" | "usage" => {
            let key = next("a session KEY").or_else(|missing| match session {
                Some(own) => Ok(own.to_owned()),
                None => Err(missing),
            })?;
            members.text("key", &own_key(agent, &key));
        }
        "status" => {
            members.text("status", &next("a STATUS")?);
            if let Some(agent) = agent {
                members.text("name", agent);
            }
        }
        _ => {
            members.text("event", &next("an EVENT")?);
            let payload = next("a JSON payload")?;
            let payload = object(&payload)
                .ok_or_else(|| Failure::Usage("the payload must be a JSON object".to_owned()))?;
            members.json("payload", payload);
        }
    }
    if let Some(word) = words.next() {
        return Err(unexpected(&word));
    }
    if action == "usage" {
        // The method wants both; who says nothing of one adds nothing to it.
        members.default_count("inputTokens", 0);
        members.default_count("outputTokens", 0);
    }
    let method = match action {
        "session" => "session.update",
        "usage" => "session.usage",
        "status" => "agent.status",
        _ => "events.publish",
    };
    Ok((method, members))
}

/// A session key without a colon is the agent's own.
fn own_key(agent: Option<&str>, key: &str) -> String {
    match agent {
        Some(agent) if !key.contains(':') => format!("{agent}:{key}"),
        _ => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let words = line.split_whitespace().map(Into::into).collect();
        let mut options = Options::default();
        let report = parse(&mut Words::new(words), &mut options).unwrap();
        let action = report.action.unwrap();
        let (method, params) = request(action, report, options.agent.as_deref(), None).unwrap();
        assert_eq!(format!("{method} {}", params.encode()), expected);
    }

    #[test]
    fn reports_become_the_requests_of_the_contract() {
        check(
            "log --agent a --level warn --session chat disk full",
            r#"logs.append {"entries":[{"level":"warn","session":"a:chat","message":"disk full"}]}"#,
        );
        check(
            r#"log --key k1 --extra {"n":1} hi"#,
            r#"logs.append {"entries":[{"extra":{"n":1},"level":"info","message":"hi"}],"idempotencyKey":"k1"}"#,
        );
        check(
            "session chat --agent a --total-tokens 10 --active true --model m",
            r#"session.update {"totalTokens":10,"active":true,"model":"m","key":"a:chat"}"#,
        );
        check(
            "usage a:chat --input-tokens 3 --output-tokens 4 --cost 0.10000000000000000001",
            r#"session.usage {"inputTokens":3,"outputTokens":4,"cost":0.10000000000000000001,"key":"a:chat"}"#,
        );
        check(
            "status busy --agent a --id 7",
            r#"agent.status {"id":7,"status":"busy","name":"a"}"#,
        );
        check(
            r#"event notification {"title":"hi"}"#,
            r#"events.publish {"event":"notification","payload":{"title":"hi"}}"#,
        );
    }

    #[test]
    fn an_option_given_twice_counts_as_given_last() {
        check("status busy --id 1 --id 2", r#"agent.status {"id":2,"status":"busy"}"#);
    }
}
