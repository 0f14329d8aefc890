//! Opening the audit file, so that it is what it seems to be.
//!
//! A file that already lies there is taken only if it is a plain file of our own user with one
//! name, and made private; a link in its place is not followed. A directory in which everybody may
//! put files is no place for it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Access, OFlags, StatVfs};
use rustix::process::geteuid;

use crate::base::limits::{AUDIT_SPARE_BYTES, AUDIT_SPARE_PART};

const FILE_MODE: u32 = 0o600;
/// What others must not have.
const FOREIGN_BITS: u32 = 0o077;
const WRITABLE_BY_ALL: u32 = 0o002;

/// Opens the file for appending; creates it if it is missing.
///
/// # Errors
/// Those of the system, and `InvalidInput` for a file or directory that is not to be trusted.
pub fn open(path: &Path) -> io::Result<File> {
    let file = open_as_it_is(path, true)?;
    if file.metadata()?.mode() & FOREIGN_BITS != 0 {
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    }
    Ok(file)
}

fn open_as_it_is(path: &Path, creates: bool) -> io::Result<File> {
    check_directory(path)?;
    // A FIFO without a reader must not hold us up.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .append(true)
        .create(creates)
        .mode(FILE_MODE)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
                refused("a symbolic link is not followed")
            }
            _ => error,
        })?;
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() > 1 {
        return Err(refused("not a plain file with one name"));
    }
    if found.uid() != geteuid().as_raw() {
        return Err(refused("the file belongs to another user"));
    }
    Ok(file)
}

/// Whether the file's disk has more free than is left to others. One that cannot be asked has.
pub(super) fn has_room(file: &File) -> bool {
    rustix::fs::fstatvfs(file).map_or(true, |disk| leaves_enough(&disk))
}

fn leaves_enough(disk: &StatVfs) -> bool {
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    bytes(disk.f_bavail) > AUDIT_SPARE_BYTES.min(bytes(disk.f_blocks) / AUDIT_SPARE_PART)
}

/// What a file without room is refused with.
pub(super) fn no_room() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "the rest of its disk is spare")
}

/// Whether [`open`] is likely to succeed, without a change to it or a file left behind.
///
/// # Errors
/// As those of [`open`], and `StorageFull`.
pub fn usable(path: &Path) -> io::Result<()> {
    if rustix::fs::statvfs(directory(path)).is_ok_and(|disk| !leaves_enough(&disk)) {
        return Err(no_room());
    }
    if fs::symlink_metadata(path).is_ok() {
        return open_as_it_is(path, false).map(drop);
    }
    check_directory(path)?;
    Ok(rustix::fs::access(directory(path), Access::WRITE_OK | Access::EXEC_OK)?)
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn check_directory(path: &Path) -> io::Result<()> {
    let found = fs::metadata(directory(path))?;
    if !found.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if found.mode() & WRITABLE_BY_ALL != 0 {
        return Err(refused("everybody may put files into its directory"));
    }
    Ok(())
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::shell::test_dir::TestDir;

    #[test]
    fn file_is_private_and_grows_at_its_end() {
        let dir = TestDir::new("audit");
        let path = dir.path().join("audit.log");
        usable(&path).unwrap();
        assert!(!path.exists(), "nothing was left behind");
        open(&path).unwrap().write_all(b"one\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, FILE_MODE);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        usable(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644, "it was only looked at");
        open(&path).unwrap().write_all(b"two\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, FILE_MODE);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }

    #[track_caller]
    fn check_refused(path: &Path, expected: &str) {
        let error = open(path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(usable(path).unwrap_err().to_string(), error);
    }

    #[test]
    fn what_only_looks_like_a_file_of_ours_is_refused() {
        let dir = TestDir::new("audit");
        let own = dir.path().join("own");
        fs::write(&own, "mine").unwrap();
        let link = dir.path().join("link");
        symlink(&own, &link).unwrap();
        check_refused(&link, "not followed");
        check_refused(Path::new("/dev/full"), "");
        let twin = dir.path().join("twin");
        fs::hard_link(&own, &twin).unwrap();
        check_refused(&twin, "one name");
        check_refused(&dir.path().join("absent").join("audit.log"), "No such file");
        let open_to_all = dir.path().join("all");
        fs::create_dir(&open_to_all).unwrap();
        fs::set_permissions(&open_to_all, Permissions::from_mode(0o1777)).unwrap();
        check_refused(&open_to_all.join("audit.log"), "everybody");
        assert_eq!(fs::read_to_string(&own).unwrap(), "mine");
    }
}
