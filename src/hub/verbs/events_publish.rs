//! `events.publish {event, payload, idempotencyKey?}`: an event that a peer has for the operators.
//!
//! Passed on at once and kept nowhere, so without a key there is nothing to wait for.

use crate::base::time::Moment;
use crate::hub::Hub;
use crate::hub::answers::Answer;
use crate::hub::effect::Effect;
use crate::hub::reports::{Asked, From};
use crate::protocol::event::Event;
use crate::protocol::reply::Reply;
use crate::protocol::request::EventsPublish;

impl Hub {
    pub(in crate::hub) fn events_publish(
        &mut self,
        now: Moment,
        from: From,
        publish: EventsPublish,
        effects: &mut Vec<Effect>,
    ) {
        let EventsPublish { kind, payload, idempotency } = publish;
        let event = Effect::Broadcast(Event::Published { kind, payload });
        if idempotency.is_none() {
            effects.push(event);
            if let From::Peer { conn, id } = from {
                self.respond(conn, id, Ok(Reply::Empty), effects);
            }
            return;
        }
        let asked = Asked { from, method: "events.publish" };
        self.report(now, asked, idempotency, effects, |_, effects| {
            effects.push(event);
            Ok(Answer::Done)
        });
    }
}
