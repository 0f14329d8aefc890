//! What children leave running: in their group, in another, without their environment; and what an
//! earlier gateway left.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use std::path::{Path, PathBuf};

use openclaw_gateway::base::ids::SpawnId;
use openclaw_gateway::hub::child::{ChildMarks, ChildNews, ChildOrder, Exit, Signal};
use openclaw_gateway::shell::children::ChildrenSetup;

use crate::kit::{TestDir, World, eventually, new_spawn, runs, sh, state, turn};

/// The number that a script has written to a file.
fn number_in(file: &Path) -> u32 {
    eventually("a process number is written", || fs::read_to_string(file).ok()?.trim().parse().ok())
}

/// Runs a script that leaves a process behind, which writes its number to `$FILE`; returns it.
///
/// The script ends once it is written, however long that takes.
#[track_caller]
fn left_by(world: &mut World, script: &str) -> (u32, crate::kit::Story) {
    let dir = TestDir::new();
    let file = dir.0.join("pid");
    let mut order = sh(&format!("{script} until [ -s \"$FILE\" ]; do sleep 0.02; done"));
    order.env.push(("FILE".to_owned(), file.display().to_string()));
    let (spawn, _) = world.run(order);
    let pid = number_in(&file);
    (pid, world.rest(&spawn))
}

#[test]
fn what_forked_twice_and_stayed_in_the_group_is_ended() {
    let mut world = World::new();
    let script = "(sh -c 'echo $$ > \"$FILE\"; exec sleep 1000' &);";
    let (pid, story) = left_by(&mut world, script);
    assert_eq!((story.exit, story.leftovers), (Some(Exit::Code(0)), true));
    assert!(!runs(pid));
}

#[test]
fn what_moved_to_a_session_of_its_own_is_ended() {
    let mut world = World::new();
    let script = "setsid sh -c 'echo $$ > \"$FILE\"; exec sleep 1000' &";
    let (pid, story) = left_by(&mut world, script);
    assert!(story.leftovers);
    assert!(!runs(pid));
}

#[test]
fn what_moved_away_and_ignores_every_signal_it_can_is_ended() {
    let mut world = World::new();
    let script = "setsid sh -c 'trap \"\" TERM HUP INT; echo $$ > \"$FILE\"; \
                  while :; do sleep 1000; done' &";
    let (pid, story) = left_by(&mut world, script);
    assert!(story.leftovers);
    assert!(!runs(pid));
}

#[test]
fn what_left_group_and_environment_is_ended_once_it_has_become_ours() {
    let mut world = World::new();
    let script = "(setsid env -i sh -c \"echo \\$\\$ > '$FILE'; exec sleep 1000\" &);";
    let (pid, _) = left_by(&mut world, script);
    eventually("the escaped process has ended", || state(pid).is_none().then_some(()));
}

/// Moves this process into a control group of its own, if the machine lets us; back on drop.
struct OwnControlGroup(PathBuf);

impl OwnControlGroup {
    fn new() -> Option<Self> {
        let root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .iter()
            .map(Path::new)
            .find(|root| root.join("cgroup.controllers").exists())?;
        let group = root.join(format!("openclaw-test-{}", std::process::id()));
        fs::create_dir(&group).ok()?;
        let group = Self(group);
        fs::write(group.0.join("cgroup.procs"), "0").ok()?;
        Some(group)
    }

    fn root(&self) -> &Path {
        self.0.parent().unwrap()
    }
}

impl Drop for OwnControlGroup {
    fn drop(&mut self) {
        drop(fs::write(self.root().join("cgroup.procs"), "0"));
        drop(fs::remove_dir(&self.0));
    }
}

#[test]
fn a_control_group_holds_what_leaves_everything_else() {
    let _turn = turn();
    let Some(own) = OwnControlGroup::new() else {
        skip!(
            "a_control_group_holds_what_leaves_everything_else",
            "no control group of version 2 can be made"
        );
    };
    let mut world = World::within_turn(|setup| ChildrenSetup { control_groups: true, ..setup });
    // So that there is always a child that could have started what is adopted.
    let (bystander, _) = world.run(sh("sleep 1000"));
    let script = "(setsid env -i sh -c \"echo \\$\\$ > '$FILE'; exec sleep 1000\" &);";
    let (pid, story) = left_by(&mut world, script);
    assert!(story.leftovers, "found by its control group");
    assert!(!runs(pid));
    // As container engines do.
    let script = format!(
        "(setsid env -i sh -c \"g={}\\$(sed -n s/^0:://p /proc/self/cgroup)/below/deeper; \
         mkdir -p \\$g; echo \\$\\$ > \\$g/cgroup.procs; echo \\$\\$ > '$FILE'; exec sleep 1000\" &);",
        own.root().display()
    );
    let (pid, story) = left_by(&mut world, &script);
    assert!(story.leftovers, "found below its control group");
    assert!(!runs(pid));
    world.signal(&bystander, Signal::Kill);
    assert_eq!(world.rest(&bystander).exit, Some(Exit::Signal(9)));

    // What an earlier gateway left.
    let (spawn, marks) = world.run(sh("exec >&- 2>&-; (setsid env -i sleep 1000 &); sleep 1000"));
    let group = Path::new("/sys/fs/cgroup").join(marks.cgroup.as_ref().expect("it has a group"));
    assert!(group.starts_with(&own.0), "{group:?}");
    eventually("both run", || {
        (fs::read_to_string(group.join("cgroup.procs")).ok()?.lines().count() >= 2).then_some(())
    });
    world.order(ChildOrder::EndEarlier(vec![(spawn.clone(), Some(marks))]));
    world.hear(|news| match news {
        ChildNews::EarlierEnded { spawn: of, was_running } if *of == spawn => Some(*was_running),
        _ => None,
    });
    assert_eq!(world.rest(&spawn).exit, Some(Exit::Signal(9)));
    world.end();
    let left: Vec<_> = fs::read_dir(&own.0).unwrap().flatten().map(|e| e.path()).collect();
    assert!(!left.iter().any(|path| path.is_dir()), "{left:?}");
}

#[test]
fn what_keeps_forking_is_ended() {
    let mut world = World::new();
    let script = "setsid sh -c 'echo $$ > \"$FILE\"; while :; do sleep 0.01; done' & \
                  setsid sh -c 'f() { sleep 0.005; f & }; f; wait' &";
    let (pid, story) = left_by(&mut world, script);
    assert!(story.leftovers);
    assert!(!runs(pid));
}

#[test]
fn a_signal_reaches_those_who_left_the_group() {
    let mut world = World::new();
    let dir = TestDir::new();
    let file = dir.0.join("pid");
    let script = "setsid sh -c 'trap \"echo told; exit\" TERM; echo $$ > \"$FILE\"; \
                  while :; do sleep 0.05; done' & wait";
    let mut order = sh(script);
    order.env.push(("FILE".to_owned(), file.display().to_string()));
    let (spawn, _) = world.run(order);
    let pid = number_in(&file);
    world.signal(&spawn, Signal::Terminate);
    // Before what is left is killed.
    world.hear(|news| match news {
        ChildNews::Output { lines, .. } => format!("{lines:?}").contains("told").then_some(()),
        _ => None,
    });
    assert_eq!(world.rest(&spawn).exit, Some(Exit::Signal(15)));
    assert!(!runs(pid));
}

#[test]
fn a_child_that_ignores_the_polite_signal_yields_to_the_other() {
    let mut world = World::new();
    let (spawn, marks) = world.run(sh("trap '' TERM; echo ready; while :; do sleep 1000; done"));
    world.hear(|news| matches!(news, ChildNews::Output { .. }).then_some(()));
    world.signal(&spawn, Signal::Terminate);
    // It is told nothing of, so ask for something that is.
    assert_eq!(world.tell(sh("echo other")).stdout, ["other"]);
    assert!(runs(marks.pid));
    world.signal(&spawn, Signal::Kill);
    let story = world.rest(&spawn);
    assert_eq!(story.exit, Some(Exit::Signal(9)));
    assert_eq!(state(marks.pid), None);
}

#[test]
fn a_child_that_left_its_own_group_is_signalled_all_the_same() {
    let mut world = World::new();
    // The group it moves to is its own child's, made and entered in one thread: nothing to wait for.
    let script = "import os, time\nchild = os.fork()\nif child == 0:\n  time.sleep(1000)\n\
                  os.setpgid(child, child)\nos.setpgid(0, child)\n\
                  print('moved', os.getpgid(0) != os.getpid(), flush=True)\ntime.sleep(1000)";
    if !Path::new("/usr/bin/python3").exists() {
        skip!("a_child_that_left_its_own_group_is_signalled_all_the_same", "needs python3");
    }
    let (spawn, _) = world.run(crate::kit::launch("/usr/bin/python3", &["-c", script]));
    world.hear(|news| match news {
        ChildNews::Output { lines, .. } => {
            format!("{lines:?}").contains("moved True").then_some(())
        }
        _ => None,
    });
    world.signal(&spawn, Signal::Kill);
    assert_eq!(world.rest(&spawn).exit, Some(Exit::Signal(9)));
}

#[test]
fn processes_of_others_are_left_alone() {
    let mut world = World::new();
    let mut bystander = Command::new("/bin/sleep").arg("1000").process_group(0).spawn().unwrap();
    let (_, story) = left_by(&mut world, "setsid sh -c 'echo $$ > \"$FILE\"; exec sleep 1000' &");
    assert!(story.leftovers);
    assert!(runs(bystander.id()));
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn children_of_an_earlier_gateway_are_found_by_their_marks_and_ended() {
    let mut world = World::new();
    let start = |spawn: &str| {
        let mut command = Command::new("/bin/sleep");
        command.arg("1000").process_group(0).env_clear().env("OPENCLAW_SPAWN_ID", spawn);
        command.spawn().unwrap()
    };
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned();
    let marks = |pid: u32, start_time| ChildMarks {
        pid,
        boot_id: boot_id.clone(),
        start_time,
        cgroup: None,
    };
    let spawns: Vec<_> = (0..6).map(|_| new_spawn()).collect();
    // Known by its marks alone, by its environment alone, gone, of another boot, and somebody
    // else's by now: the number was used again.
    let mut by_marks = start("");
    let mut by_environment = start(spawns[1].as_str());
    let mut of_another_boot = start("");
    let mut anothers = start("");
    // Beside which something of that spawn does run.
    let mut beside = start(spawns[4].as_str());
    let started = |pid: u32| -> u64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap()
    };
    let other_boot = ChildMarks {
        boot_id: "another".to_owned(),
        ..marks(of_another_boot.id(), started(of_another_boot.id()))
    };
    world.order(ChildOrder::EndEarlier(vec![
        (spawns[0].clone(), Some(marks(by_marks.id(), started(by_marks.id())))),
        (spawns[1].clone(), None),
        (spawns[2].clone(), Some(marks(4_194_000, 1))),
        (spawns[3].clone(), Some(other_boot)),
        (spawns[4].clone(), Some(marks(anothers.id(), started(anothers.id()) - 1))),
        (spawns[5].clone(), None),
    ]));
    let told: Vec<_> = spawns
        .iter()
        .map(|spawn| {
            world.hear(|news| match news {
                ChildNews::EarlierEnded { spawn: of, was_running } if of == spawn => {
                    Some(*was_running)
                }
                _ => None,
            })
        })
        .collect();
    assert_eq!(told, [true, true, false, false, true, false]);
    assert!(!runs(by_marks.id()) && !runs(by_environment.id()) && !runs(beside.id()));
    assert!(runs(of_another_boot.id()) && runs(anothers.id()));
    for child in
        [&mut by_marks, &mut by_environment, &mut of_another_boot, &mut anothers, &mut beside]
    {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// Processes that are ended and reaped with this.
struct Sleepers(Vec<std::process::Child>);

impl Drop for Sleepers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.kill().and_then(|()| child.wait()));
        }
    }
}

#[test]
fn a_thousand_children_of_an_earlier_gateway_are_ended_before_that_is_given_up() {
    let mut world = World::new();
    let mut left = Sleepers(Vec::new());
    let start = |spawn: &SpawnId| {
        let mut command = Command::new("/bin/sleep");
        command.arg("1000").process_group(0).env("OPENCLAW_SPAWN_ID", spawn.as_str());
        command.spawn().unwrap()
    };
    let spawns: Vec<_> = (0..1_000).map(|_| new_spawn()).collect();
    left.0.extend(spawns.iter().map(start));
    let wanted = spawns.iter().map(|spawn| (spawn.clone(), None)).collect();
    world.order(ChildOrder::EndEarlier(wanted));
    for spawn in &spawns {
        let was_running = world.hear(|news| match news {
            ChildNews::EarlierEnded { spawn: of, was_running } if of == spawn => Some(*was_running),
            _ => None,
        });
        assert!(was_running, "{spawn} was found");
    }
    assert_eq!(left.0.iter().filter(|child| runs(child.id())).count(), 0);
}
