//! `call`: any method, with JSON in and JSON out.
//!
//! Called by `client::run`.

use std::io::Read as _;

use serde_json::value::RawValue;

use super::connection::Connection;
use super::failure::Failure;
use super::options::{self, Options, Surroundings};
use super::words::{Word, Words, unexpected, unknown_option};
use crate::base::limits::CLIENT_PARAMS_BYTES_MAX;

pub(super) fn run(mut words: Words, around: &Surroundings) -> Result<(), Failure> {
    let mut options = Options::default();
    let (mut method, mut params) = (None, None);
    while let Some(word) = words.next()? {
        match word {
            Word::Option(name) if options.take(&name, &mut words)? => {}
            Word::Option(name) => return Err(unknown_option(&name, &[options::NAMES])),
            Word::Plain(word) if method.is_none() => method = Some(word),
            Word::Plain(word) if params.is_none() => params = Some(word),
            Word::Plain(word) => return Err(unexpected(&word)),
        }
    }
    let method = method.filter(|method| !method.is_empty());
    let method = method.ok_or_else(|| Failure::Usage("METHOD is missing".to_owned()))?;
    let params = read_params(params)?;
    let target = options.target(around, false)?;
    let login = options.login(around, &target)?;
    let mut screen = options.screen(around, true);

    let mut connection = Connection::open(&target, &login, options.timeout())?;
    connection.ask_to_the_end(&method, &params, &mut |body| {
        if screen.json {
            screen.json_line(body.get())?;
        } else {
            let body = serde_json::from_str(body.get())
                .map_err(|error| Failure::Local(format!("cannot show the answer: {error}")))?;
            screen.pretty_json(&body)?;
        }
        // Who waits for the second answer has the first.
        screen.flush()?;
        Ok(())
    })?;
    connection.close();
    Ok(())
}

/// The parameters as they were given: numbers keep their digits. `-` reads standard input.
fn read_params(given: Option<String>) -> Result<Box<RawValue>, Failure> {
    let text = match given {
        None => "{}".to_owned(),
        Some(dash) if dash == "-" => {
            let mut text = String::new();
            let limit = CLIENT_PARAMS_BYTES_MAX as u64 + 1;
            std::io::stdin()
                .lock()
                .take(limit)
                .read_to_string(&mut text)
                .map_err(|error| Failure::Local(format!("cannot read stdin: {error}")))?;
            if text.len() > CLIENT_PARAMS_BYTES_MAX {
                let text = format!("the parameters are over {CLIENT_PARAMS_BYTES_MAX} bytes");
                return Err(Failure::Usage(text));
            }
            text
        }
        Some(text) => text,
    };
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::Usage(format!("the parameters must be a JSON object: {why}"))
    };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    if !value.is_object() {
        return Err(wrong(&"found something else"));
    }
    RawValue::from_string(text).map_err(|error| wrong(&error))
}
