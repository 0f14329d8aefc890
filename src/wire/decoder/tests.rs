//! What `decoder` promises.

use super::*;

/// A client frame: first byte as given, masked, lengths in their shortest form.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// Feeds the pieces and describes what came out, the violation included.
fn decode(pieces: &[&[u8]], message_bytes_max: usize) -> Vec<String> {
    let mut decoder = Decoder::new(message_bytes_max);
    let mut out = Vec::new();
    for piece in pieces {
        let mut input = piece.to_vec();
        let mut position = 0;
        loop {
            match decoder.next(&mut input, &mut position) {
                Ok(Some(message)) => out.push(describe(message)),
                Ok(None) => break,
                Err(violation) => {
                    out.push(format!("{violation:?}"));
                    return out;
                }
            }
        }
        assert_eq!(position, piece.len(), "everything is used up");
    }
    out
}

fn describe(message: Message<'_>) -> String {
    match message {
        Message::Text(text) if text.len() > 100 => format!("Text of {}", text.len()),
        Message::Binary(data) if data.len() > 100 => format!("Binary of {}", data.len()),
        message => format!("{message:?}"),
    }
}

/// The messages come out the same whole, byte by byte, and cut in two at every length; and a
/// stream that ends early yields a prefix of them.
#[track_caller]
fn check(bytes: &[u8], expected: &[&str]) {
    let max = 1 << 20;
    assert_eq!(decode(&[bytes], max), expected, "whole");
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decode(&single, max), expected, "byte by byte");
    let step = (bytes.len() / 500).max(1);
    for cut in (0..=bytes.len()).step_by(step) {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(decode(&[head, tail], max), expected, "cut at {cut}");
        let prefix = decode(&[head], max);
        assert_eq!(prefix, expected[..prefix.len()], "truncated at {cut}");
    }
}

#[test]
fn messages_survive_any_cut() {
    check(&frame(0x81, b"hello"), &[r#"Text("hello")"#]);
    check(&frame(0x81, b""), &[r#"Text("")"#]);
    check(&frame(0x82, &[0, 255]), &["Binary([0, 255])"]);
    check(&frame(0x89, b"p"), &["Ping([112])"]);
    check(&frame(0x8A, b""), &["Pong([])"]);
    check(&frame(0x81, "x".repeat(126).as_bytes()), &["Text of 126"]);
    check(&frame(0x82, &[1; 70_000]), &["Binary of 70000"]);
    check(&frame(0x88, b""), &["Close(None)"]);
    check(&frame(0x88, b"\x03\xe8bye"), &[r#"Close(Some((1000, "bye")))"#]);
    check(
        &[frame(0x81, b"a"), frame(0x82, b"b"), frame(0x81, b"c")].concat(),
        &[r#"Text("a")"#, "Binary([98])", r#"Text("c")"#],
    );
}

#[test]
fn control_frames_may_come_between_fragments() {
    check(
        &[
            frame(0x01, "a\u{20ac}".as_bytes().split_at(2).0),
            frame(0x89, b"1"),
            frame(0x00, b""),
            frame(0x00, "a\u{20ac}".as_bytes().split_at(2).1),
            frame(0x8A, b"2"),
            frame(0x80, b"z"),
            frame(0x81, b"next"),
        ]
        .concat(),
        &["Ping([49])", "Pong([50])", r#"Text("a€z")"#, r#"Text("next")"#],
    );
    check(&[frame(0x02, b"a"), frame(0x80, b"b")].concat(), &["Binary([97, 98])"]);
}

#[test]
fn illegal_frames_are_violations() {
    for (bytes, expected) in [
        (frame(0xC1, b"x"), r#"Protocol("reserved bit set")"#),
        (frame(0xA1, b"x"), r#"Protocol("reserved bit set")"#),
        (frame(0x91, b"x"), r#"Protocol("reserved bit set")"#),
        (frame(0x83, b"x"), r#"Protocol("reserved opcode")"#),
        (frame(0x8B, b""), r#"Protocol("reserved opcode")"#),
        (vec![0x81, 0x01, b'x'], r#"Protocol("frame not masked")"#),
        (frame(0x09, b""), r#"Protocol("fragmented control frame")"#),
        (frame(0x89, &[0; 126]), r#"Protocol("control frame over 125 bytes")"#),
        (frame(0x80, b"x"), r#"Protocol("continuation of nothing")"#),
        (
            [frame(0x01, b"x"), frame(0x81, b"y")].concat(),
            r#"Protocol("message inside a fragmented message")"#,
        ),
        (vec![0x81, 0xFE, 0, 1, 0, 0, 0, 0], r#"Protocol("length not in its shortest form")"#),
        (
            vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            r#"Protocol("length with its highest bit set")"#,
        ),
        (frame(0x88, b"\x03"), r#"Protocol("close code cut in half")"#),
        (frame(0x88, &1005_u16.to_be_bytes()), r#"Protocol("illegal close code")"#),
        (frame(0x88, &999_u16.to_be_bytes()), r#"Protocol("illegal close code")"#),
        (frame(0x88, &2999_u16.to_be_bytes()), r#"Protocol("illegal close code")"#),
        (frame(0x88, &5000_u16.to_be_bytes()), r#"Protocol("illegal close code")"#),
        (frame(0x88, b"\x03\xe8\xff"), "InvalidUtf8"),
        (frame(0x81, b"\xff"), "InvalidUtf8"),
        ([frame(0x01, b"\xe2\x82"), frame(0x80, b"")].concat(), "InvalidUtf8"),
    ] {
        check(&bytes, &[expected]);
    }
}

#[test]
fn impossible_text_is_refused_before_its_frame_ends() {
    let mut bytes = frame(0x81, b"ok \xf4\x90 and more that never arrives");
    bytes.truncate(6 + 5);
    assert_eq!(decode(&[&bytes], 100), ["InvalidUtf8"]);
}

#[test]
fn a_message_over_the_limit_is_refused_at_its_header() {
    assert_eq!(decode(&[&frame(0x81, &[b'x'; 11])[..6]], 10), ["TooLarge"]);
    assert_eq!(decode(&[&frame(0x81, &[b'x'; 10])], 10), [r#"Text("xxxxxxxxxx")"#]);
    let fragments = [frame(0x01, &[b'x'; 6]), frame(0x80, &[b'x'; 5])].concat();
    assert_eq!(decode(&[&fragments], 10), ["TooLarge"]);
    let huge = [0x82, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0];
    assert_eq!(decode(&[&huge], usize::MAX), Vec::<String>::new());
    assert_eq!(decode(&[&huge], 1 << 40), ["TooLarge"]);
}

#[test]
fn memory_is_taken_as_bytes_arrive_and_given_back() {
    let bytes = frame(0x82, &vec![7; 1 << 20]);
    let mut decoder = Decoder::new(usize::MAX);
    let mut fed = 0;
    for piece in bytes.chunks(10_000) {
        fed += piece.len();
        let mut input = piece.to_vec();
        let mut position = 0;
        let is_found = decoder.next(&mut input, &mut position).unwrap().is_some();
        assert!(decoder.held_bytes() <= 2 * fed + ASSEMBLY_BYTES_MIN, "at {fed}");
        assert_eq!(is_found, fed == bytes.len());
    }
    assert!(decoder.next(&mut [], &mut 0).unwrap().is_none());
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn a_message_has_begun_from_its_first_byte_to_its_last() {
    let mask = [0; 4];
    // An empty first fragment, an empty last one, and a ping in between.
    let first = [&[0x01, 0x80][..], &mask].concat();
    let ping = [&[0x89, 0x80][..], &mask].concat();
    let last = [&[0x80, 0x80][..], &mask].concat();
    let mut decoder = Decoder::new(1_000);
    assert!(!decoder.has_begun());
    for (bytes, has_begun) in [(first, true), (ping, true), (last, false)] {
        for (index, byte) in bytes.iter().enumerate() {
            let mut input = [*byte];
            let mut position = 0;
            while decoder.next(&mut input, &mut position).unwrap().is_some() {}
            assert_eq!(decoder.has_begun(), index + 1 < bytes.len() || has_begun);
        }
    }
}
