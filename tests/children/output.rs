//! What children write: lines, pieces, bytes that are no text, floods, and pipes that outlive them.

use std::time::{Duration, Instant};

use openclaw_gateway::base::limits::OUTPUT_LINE_BYTES_MAX;
use openclaw_gateway::hub::child::{ChildNews, ChildOrder, Exit, Signal};

use crate::kit::{PATIENCE, World, launch, sh};

#[test]
fn both_streams_are_read_to_their_end_line_by_line() {
    let mut world = World::new();
    let story = world.tell(sh("echo one; echo; printf 'two\\r\\nunfinished'; echo bad >&2"));
    assert_eq!(story.stdout, ["one", "", "two", "unfinished"]);
    assert_eq!(story.stderr, ["bad"]);
    let after = story.kinds.iter().position(|kind| *kind == "OutputEnded").unwrap();
    assert!(!story.kinds[after..].contains(&"Output"), "{:?}", story.kinds);
}

#[test]
fn bytes_that_are_no_text_are_shown() {
    let mut world = World::new();
    let story = world.tell(sh("printf 'a\\377b\\303\\251\\303\\n\\360\\237\\n'"));
    assert_eq!(story.stdout, ["a\\xffbé\\xc3", "\\xf0\\x9f"]);
}

#[test]
fn a_line_that_is_too_long_is_cut_between_characters() {
    let mut world = World::new();
    // An odd offset, so that the limit falls into a character of two bytes.
    let script = "printf x; yes é | head -n 100000 | tr -d '\\n'; echo; echo next";
    let story = world.tell(sh(script));
    let (last, pieces) = story.stdout.split_last().unwrap();
    assert_eq!(last, "next");
    assert!(pieces.iter().all(|piece| piece.len() <= OUTPUT_LINE_BYTES_MAX), "too long");
    assert_eq!(pieces.len(), 200_001_usize.div_ceil(OUTPUT_LINE_BYTES_MAX));
    assert_eq!(pieces.concat(), format!("x{}", "é".repeat(100_000)));

    // Exactly as long as may be: one line, and none after it.
    let exact = format!("head -c {OUTPUT_LINE_BYTES_MAX} /dev/zero | tr '\\0' x; echo");
    assert_eq!(world.tell(sh(&exact)).stdout, ["x".repeat(OUTPUT_LINE_BYTES_MAX)]);
    // Escapes make it longer than a line may be.
    let escaped = format!("head -c {OUTPUT_LINE_BYTES_MAX} /dev/zero | tr '\\0' '\\377'; echo");
    let story = world.tell(sh(&escaped));
    assert_eq!(story.stdout.len(), 4);
    assert_eq!(story.stdout.concat(), "\\xff".repeat(OUTPUT_LINE_BYTES_MAX));
}

#[test]
fn a_flood_on_both_pipes_is_limited_and_counted_and_the_child_is_not_held_up() {
    let mut world = World::new();
    let flood = "yes 0123456789 | head -c 100000000";
    let mut order = sh(&format!("({flood} >&2) & {flood}; wait; echo last"));
    // Slow enough for a test, which is slower than a hub.
    order.output_bytes_per_second_max = 100_000;
    let began = Instant::now();
    let story = world.tell(order);
    let took = began.elapsed();
    assert_eq!(story.exit, Some(Exit::Code(0)));
    let taken: usize = story.stdout.iter().chain(&story.stderr).map(|line| line.len() + 64).sum();
    let most = 100_000.0 * (2.0 + took.as_secs_f64());
    assert!((taken as f64) < most, "{taken} bytes were taken in {took:?}");
    // Nothing is lost without a word: 11 bytes a line, one of them the line's end. The last one has
    // none, so what comes after it belongs to it.
    let lines = |texts: &[String]| texts.iter().map(|text| number_in(text)).sum::<u64>();
    let seen = story.stdout.len() + story.stderr.len();
    let total = u64::try_from(seen).unwrap() + lines(&story.suppressed);
    assert_eq!(total, 2 * 100_000_000_u64.div_ceil(11), "{:?}", story.suppressed);
    assert!(
        story.suppressed.len() < 2 * (3 + 2 * took.as_secs() as usize),
        "{:?}",
        story.suppressed
    );
}

#[test]
fn what_was_suppressed_is_said_also_if_nothing_follows() {
    let mut world = World::new();
    let mut order = sh("yes | head -n 1000; exec sleep 1000");
    order.output_bytes_per_second_max = 10_000;
    let (spawn, _) = world.run(order);
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "nothing said");
        let ChildNews::Output { lines, .. } = world.hear_of(&spawn) else { continue };
        if lines.iter().any(|line| format!("{:?}", line.content).contains("suppressed ")) {
            break;
        }
    }
    world.signal(&spawn, Signal::Kill);
    assert_eq!(world.rest(&spawn).exit, Some(Exit::Signal(9)));
}

#[test]
fn a_child_that_closes_its_pipes_lives_on() {
    let mut world = World::new();
    let (spawn, _) = world.run(sh("exec >&- 2>&-; read forever < /dev/zero"));
    world.hear(|news| matches!(news, ChildNews::OutputEnded(of) if *of == spawn).then_some(()));
    world.signal(&spawn, Signal::Terminate);
    let exit = world.hear(|news| match news {
        ChildNews::Exited { spawn: of, exit, .. } if *of == spawn => Some(*exit),
        _ => None,
    });
    assert_eq!(exit, Exit::Signal(15));
}

#[test]
fn a_pipe_that_somebody_still_holds_is_read_until_it_is_closed_by_order() {
    let mut world = World::new();
    let script = "sleep 1000 & echo before";
    let (spawn, _) = world.run(sh(script));
    let leftovers = world.hear(|news| match news {
        ChildNews::Exited { spawn: of, leftovers, .. } if *of == spawn => Some(*leftovers),
        _ => None,
    });
    assert!(leftovers);
    world.order(ChildOrder::CloseOutput(spawn.clone()));
    world.hear(|news| matches!(news, ChildNews::OutputEnded(of) if *of == spawn).then_some(()));
    world.order(ChildOrder::EndLeftovers(spawn.clone()));
    world.hear(|news| matches!(news, ChildNews::LeftoversEnded(of) if *of == spawn).then_some(()));
}

#[test]
fn a_flood_does_not_hold_up_another_child() {
    let mut world = World::new();
    let mut order = launch("/usr/bin/yes", &[]);
    order.output_bytes_per_second_max = 1_000_000;
    let (flooding, _) = world.run(order);
    for _ in 0..5 {
        let began = Instant::now();
        assert_eq!(world.tell(sh("echo prompt")).stdout, ["prompt"]);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    world.signal(&flooding, Signal::Kill);
    world.rest(&flooding);
}

/// The number of lines in `suppressed 12 lines (…)`.
fn number_in(text: &str) -> u64 {
    text.split(' ').nth(1).unwrap().parse().unwrap()
}
