//! From the order to the running program: what it finds there, and what comes of mistakes.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use openclaw_gateway::hub::child::{ChildNews, ChildOrder, Exit, NotFound};

use crate::kit::{TestDir, World, eventually, launch, runs, sh, state};

#[test]
fn a_program_starts_when_it_is_told_to_go_and_not_before() {
    let mut world = World::new();
    let dir = TestDir::new();
    let mark = dir.0.join("ran");
    let (spawn, marks) = world.hold(sh(&format!("echo hello; touch {}", mark.display())));
    assert!(runs(marks.pid), "the launcher waits");
    assert!(!mark.exists());
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(marks.boot_id, boot_id.trim());
    world.order(ChildOrder::Go(spawn.clone()));
    let story = world.rest(&spawn);
    assert_eq!(story.kinds[..2], ["Started", "Output"]);
    assert_eq!((story.exit, story.leftovers), (Some(Exit::Code(0)), false));
    assert_eq!(story.stdout, ["hello"]);
    assert!(mark.exists());
    assert_eq!(state(marks.pid), None, "reaped");
}

#[test]
fn the_exit_is_told_as_the_kernel_has_it() {
    let mut world = World::new();
    for (script, exit) in [
        ("exit 0", Exit::Code(0)),
        ("exit 7", Exit::Code(7)),
        ("kill -TERM $$", Exit::Signal(15)),
        ("kill -KILL $$", Exit::Signal(9)),
    ] {
        assert_eq!(world.tell(sh(script)).exit, Some(exit), "{script}");
    }
}

#[test]
fn the_program_is_started_without_a_shell_under_the_name_that_was_asked() {
    let mut world = World::new();
    let mut order = launch("/bin/sh", &["-c", "echo \"$0\"; cat /proc/$$/cmdline | tr '\\0' '|'"]);
    order.command = "its-name".to_owned();
    let story = world.tell(order);
    assert_eq!(story.stdout[0], "its-name");
    assert!(story.stdout[1].starts_with("its-name|-c|echo"), "{:?}", story.stdout);

    let story = world.tell(launch("/bin/echo", &["$HOME; `id`", "*", ""]));
    assert_eq!(story.stdout, ["$HOME; `id` * "]);
}

#[test]
fn the_environment_is_what_is_allowed_and_nothing_else() {
    let mut world = World::new();
    let mut order = launch("/usr/bin/env", &[]);
    order.env_allow = vec!["PATH".to_owned(), "OPENCLAW_TEST_IS_NOT_SET".to_owned()];
    order.env = vec![("GREETING".to_owned(), "hello world".to_owned())];
    let spawn = order.spawn.clone();
    let mut story = world.tell(order);
    story.stdout.sort();
    let path = std::env::var("PATH").unwrap();
    assert_eq!(
        story.stdout,
        [
            "GREETING=hello world".to_owned(),
            "OPENCLAW_AGENT_NAME=agent1".to_owned(),
            "OPENCLAW_AGENT_TOKEN=token-of-a-test".to_owned(),
            "OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1".to_owned(),
            "OPENCLAW_SESSION=agent1:test".to_owned(),
            format!("OPENCLAW_SPAWN_ID={spawn}"),
            format!("PATH={path}"),
        ]
    );
}

#[test]
fn the_credential_is_not_where_others_can_read_it_before_the_program_runs() {
    let mut world = World::new();
    let (spawn, marks) = world.hold(sh("true"));
    let read = |file| fs::read(format!("/proc/{}/{file}", marks.pid)).unwrap();
    let shown = eventually("the launcher runs", || {
        let shown = String::from_utf8_lossy(&read("cmdline")).into_owned();
        shown.contains("launch").then_some(shown)
    });
    let environ = String::from_utf8_lossy(&read("environ")).into_owned();
    assert!(!shown.contains("token") && !environ.contains("token"), "{shown} {environ}");
    assert_eq!(environ, format!("OPENCLAW_SPAWN_ID={spawn}\0"));
    world.order(ChildOrder::Abandon(spawn.clone()));
    world.rest(&spawn);
}

#[test]
fn only_the_standard_descriptors_are_inherited() {
    let mut world = World::new();
    // Some that a careless parent left open, and that Rust would not close.
    let file = fs::File::open("/dev/zero").unwrap();
    let kept: Vec<_> = (0..3).map(|_| rustix::io::dup(&file).unwrap()).collect();
    let mut order = launch("/bin/ls", &["-l", "/proc/self/fd"]);
    order.stdin = Some(b"text".to_vec());
    let story = world.tell(order);
    drop(kept);
    let fds: Vec<_> = story.stdout.iter().filter(|line| line.contains("->")).collect();
    // The fourth is the listing's own.
    assert_eq!(fds.len(), 4, "{fds:?}");
    assert!(fds[..3].iter().all(|line| line.contains("pipe:")), "{fds:?}");
    assert!(fds[3].contains("/fd"), "{fds:?}");
}

#[test]
fn stdin_is_fed_and_then_closed() {
    let mut world = World::new();
    // More than a pipe holds, to a program that waits before it reads.
    let text: String = (0..40_000).map(|n| format!("line {n}\n")).collect();
    let mut order = sh("read first; echo \"$first\"; sleep 0.1; wc -l");
    order.stdin = Some(text.into_bytes());
    let story = world.tell(order);
    assert_eq!(story.stdout[0], "line 0");
    assert_eq!(story.stdout[1].trim(), "39999");

    let mut order = launch("/bin/cat", &[]);
    order.stdin = Some(Vec::new());
    assert_eq!(world.tell(order).exit, Some(Exit::Code(0)));
    let story = world.tell(sh("readlink /proc/$$/fd/0; cat"));
    assert_eq!(story.stdout, ["/dev/null"]);

    // One that does not read it.
    let mut order = sh("exec 0<&-; echo done");
    order.stdin = Some(vec![b'x'; 1_000_000]);
    assert_eq!(world.tell(order).stdout, ["done"]);
}

#[test]
fn limits_group_and_signals_are_a_programs_usual_ones() {
    let mut world = World::new();
    let script = "ulimit -n; ulimit -c; umask; ps -o pgid= -p $$ | tr -d ' '; echo $$; \
                  grep -E '^Sig(Blk|Ign)' /proc/self/status";
    let story = world.tell(sh(script));
    assert_eq!(story.stdout[0], "256");
    assert_eq!(story.stdout[1], "0");
    assert_eq!(story.stdout[2].as_bytes()[2] & 2, 2, "not writable for the group");
    assert_eq!(story.stdout[3], story.stdout[4], "a group of its own");
    assert_eq!(story.stdout[5], "SigBlk:\t0000000000000000");
    let ignored = |line: &str| u64::from_str_radix(line.split_once('\t').unwrap().1, 16).unwrap();
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find(|line| line.starts_with("SigIgn")).unwrap();
    // What whoever started us ignores, but not what Rust's runtime does; 32 and 33 are the C
    // library's own.
    const PIPE: u64 = 1 << (13 - 1);
    const USUAL: u64 = (1 << 31) - 1;
    assert_eq!(ignored(own) & PIPE, PIPE);
    assert_eq!(ignored(&story.stdout[6]) & USUAL, ignored(own) & USUAL & !PIPE);
}

#[test]
fn a_program_that_cannot_be_started_says_why() {
    let mut world = World::new();
    let dir = TestDir::new();
    let broken = dir.0.join("broken");
    fs::write(&broken, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    for (program, expected) in [
        ("/no/such/program", "/no/such/program: No such file"),
        ("/etc", "/etc: Permission denied"),
        (broken.to_str().unwrap(), "No such file"),
    ] {
        let story = world.tell(launch(program, &[]));
        assert_eq!(story.kinds, ["StartFailed"]);
        let why = story.failure.unwrap();
        assert!(why.contains(expected), "{why}");
    }
    let story = world.tell(launch("/bin/echo", &["a\0b"]));
    assert!(story.failure.unwrap().contains("nul byte"));
    let long = "x".repeat(4_000_000);
    let story = world.tell(launch("/bin/echo", &[&long]));
    assert!(story.failure.unwrap().contains("Argument list too long"));
    let mut order = sh("true");
    order.run_as = Some("no-such-user".to_owned());
    assert_eq!(world.tell(order).failure.unwrap(), "runAs: there is no user no-such-user");
}

#[test]
fn a_directory_that_became_a_link_since_it_was_found_is_not_entered() {
    let mut world = World::new();
    let dir = TestDir::new();
    let swapped = dir.0.join("swapped");
    fs::create_dir(&swapped).unwrap();
    let mut order = launch("/bin/pwd", &[]);
    order.found.cwd = swapped.clone();
    assert_eq!(world.tell(order).stdout, [swapped.to_str().unwrap()]);
    fs::remove_dir(&swapped).unwrap();
    symlink("/etc", &swapped).unwrap();
    let mut order = launch("/bin/pwd", &[]);
    order.found.cwd = swapped.clone();
    let why = world.tell(order).failure.unwrap();
    assert!(why.starts_with("cannot enter the directory"), "{why}");
}

#[test]
fn programs_and_directories_are_found_or_it_is_said_why_not() {
    let mut world = World::new();
    let dir = TestDir::new();
    let (inside, outside) = (dir.0.join("inside"), dir.0.join("outside"));
    fs::create_dir_all(inside.join("below")).unwrap();
    fs::create_dir(&outside).unwrap();
    symlink(&outside, inside.join("link")).unwrap();
    symlink(inside.join("below"), inside.join("good-link")).unwrap();
    let file = inside.join("file");
    fs::write(&file, "text").unwrap();

    let found = world.resolve("sh", Some(&inside.join("good-link")), Some(&[&inside])).unwrap();
    assert!(found.program.ends_with("sh") && found.program.is_absolute());
    assert_eq!(found.cwd, inside.join("below"));
    let found = world.resolve("/bin/sh", None, None).unwrap();
    assert_eq!(found.cwd, std::env::current_dir().unwrap().canonicalize().unwrap());

    for (command, expected) in [
        ("no-such-program-4711", "no-such-program-4711 is not found in the gateway's PATH"),
        ("/no/such/program", "/no/such/program: No such file"),
        ("/etc", "/etc is a directory"),
        (file.to_str().unwrap(), "is not executable"),
        ("./sh", "neither a bare name nor an absolute path"),
        ("", "no command"),
    ] {
        match world.resolve(command, Some(&inside), None) {
            Err(NotFound::CannotStart(why)) => assert!(why.contains(expected), "{why}"),
            other => panic!("{command}: {other:?}"),
        }
    }
    for (cwd, expected) in
        [(inside.join("missing"), "cannot be used"), (file.clone(), "is not a directory")]
    {
        match world.resolve("sh", Some(&cwd), Some(&[&inside])) {
            Err(NotFound::CannotStart(why)) => assert!(why.contains(expected), "{why}"),
            other => panic!("{cwd:?}: {other:?}"),
        }
    }
    for cwd in [outside.clone(), inside.join("link"), inside.join("../outside"), dir.0.join("no")] {
        match world.resolve("sh", Some(&cwd), Some(&[&inside])) {
            Err(NotFound::Forbidden { rule, problem }) => {
                assert_eq!(rule, "gateway.spawn.allowedDirs");
                assert!(problem.contains(cwd.to_str().unwrap()), "{problem}");
            }
            other => panic!("{cwd:?}: {other:?}"),
        }
    }
}

#[test]
fn a_launcher_that_dies_before_it_may_go_is_told_as_an_exit() {
    let mut world = World::new();
    let (spawn, marks) = world.hold(sh("echo never"));
    kill(marks.pid);
    let exit = world.hear(|news| match news {
        ChildNews::Exited { spawn: of, exit, leftovers: false } if *of == spawn => Some(*exit),
        _ => None,
    });
    assert_eq!(exit, Exit::Signal(9));
    // Too late, and without an answer.
    world.order(ChildOrder::Go(spawn));
    assert_eq!(state(marks.pid), None);
}

#[test]
fn an_abandoned_launcher_exits_and_runs_nothing() {
    let mut world = World::new();
    let dir = TestDir::new();
    let mark = dir.0.join("ran");
    let (spawn, marks) = world.hold(sh(&format!("touch {}", mark.display())));
    world.order(ChildOrder::Abandon(spawn.clone()));
    let story = world.rest(&spawn);
    assert!(story.exit.is_some());
    assert_eq!(state(marks.pid), None);
    assert!(!mark.exists());
}

pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
