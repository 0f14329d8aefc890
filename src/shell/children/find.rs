//! Finds the program and the directory of a spawn.
//!
//! May wait for a filesystem, so it runs on a `helper` thread. Owns nothing.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::own_variable;
use crate::hub::child::{NotFound, ProgramAsked, ProgramFound};

/// The configuration key that a refused directory is against.
const DIRECTORY_RULE: &str = "gateway.spawn.allowedDirs";

/// Where bare names are looked for when the gateway has no `PATH`.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// Finds both. A directory that is not allowed is refused before a program is missed.
pub(super) fn find(asked: &ProgramAsked) -> Result<ProgramFound, NotFound> {
    let cwd = directory(asked)?;
    let path = own_variable("PATH").unwrap_or_else(|| PATH_DEFAULT.into());
    let program =
        program(&asked.command, env::split_paths(&path)).map_err(NotFound::CannotStart)?;
    Ok(ProgramFound { program, cwd })
}

fn directory(asked: &ProgramAsked) -> Result<PathBuf, NotFound> {
    let own = || {
        env::current_dir().map_err(|error| {
            NotFound::CannotStart(format!("the gateway's own directory is gone: {error}"))
        })
    };
    let wanted = match &asked.cwd {
        // What a relative one is relative to.
        Some(cwd) => own()?.join(cwd),
        None => own()?,
    };
    let forbidden = |shown: &str| NotFound::Forbidden {
        rule: DIRECTORY_RULE,
        problem: format!("the directory {shown} is outside of what it allows"),
    };
    let shown = wanted.display().to_string();
    let real = wanted.canonicalize().map_err(|error| {
        // What is elsewhere is refused whether it exists or not.
        if is_allowed(&wanted, asked.allowed_dirs.as_deref()) {
            NotFound::CannotStart(format!("the directory {shown} cannot be used: {error}"))
        } else {
            forbidden(&shown)
        }
    })?;
    if !is_allowed(&real, asked.allowed_dirs.as_deref()) {
        return Err(forbidden(&match real == wanted {
            true => shown,
            false => format!("{shown}, which is {},", real.display()),
        }));
    }
    if !real.is_dir() {
        return Err(NotFound::CannotStart(format!("{shown} is not a directory")));
    }
    Ok(real)
}

fn is_allowed(directory: &Path, allowed: Option<&[PathBuf]>) -> bool {
    let Some(allowed) = allowed else { return true };
    allowed.iter().any(|allowed| {
        directory.starts_with(allowed)
            || allowed.canonicalize().is_ok_and(|allowed| directory.starts_with(allowed))
    })
}

/// The file that a command names. Links are not followed: some programs look at the name that they
/// are started by.
fn program(command: &str, path: impl Iterator<Item = PathBuf>) -> Result<PathBuf, String> {
    if command.contains('/') {
        let program = Path::new(command);
        if !program.is_absolute() {
            return Err(format!("{command} is neither a bare name nor an absolute path"));
        }
        return runnable(program).map(|()| program.to_owned());
    }
    if command.is_empty() || command == "." || command == ".." {
        return Err("no command is named".to_owned());
    }
    // A directory or a file that cannot be run does not hide a program that comes after it.
    let mut problem = None;
    for directory in path.filter(|directory| directory.is_absolute()) {
        let program = directory.join(command);
        match runnable(&program) {
            Ok(()) => return Ok(program),
            Err(error) if program.exists() => {
                problem.get_or_insert(error);
            }
            Err(_) => {}
        }
    }
    Err(problem.unwrap_or_else(|| format!("{command} is not found in the gateway's PATH")))
}

/// Whether somebody may run it; whether its user may is found when it is started.
fn runnable(program: &Path) -> Result<(), String> {
    let shown = program.display();
    let metadata = fs::metadata(program).map_err(|error| format!("{shown}: {error}"))?;
    if metadata.is_dir() {
        return Err(format!("{shown} is a directory"));
    }
    if !metadata.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(format!("{shown} is not executable"));
    }
    Ok(())
}
