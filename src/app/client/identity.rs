//! Who we are: an Ed25519 key in the user's configuration directory, one for the person and one
//! for each agent name.
//!
//! Owns the files: directories 0700, keys 0600, created once and never changed. A key that others
//! can read is refused, because whoever read it can pass for this device. Called by `options`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::failure::Failure;
use crate::base::limits::CLIENT_KEY_BYTES_MAX;
use crate::protocol::device_key::DeviceKey;

/// Bits of a mode that let others in.
const OTHERS: u32 = 0o077;

/// Where the user keeps configuration. Relative paths in the environment do not count.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// `$XDG_CONFIG_HOME`
    pub(super) xdg_config_home: Option<PathBuf>,
    /// `$HOME`
    pub(super) home: Option<PathBuf>,
}

/// A key and where it is kept.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// The private key.
    pub(super) key: DeviceKey,
}

impl Place {
    /// `device.key` for a person, `agents/NAME.key` for an agent.
    fn key_file(&self, agent: Option<&str>) -> Result<PathBuf, Failure> {
        let home = || self.home.as_ref().map(|home| home.join(".config"));
        let base = self.xdg_config_home.clone().or_else(home).ok_or_else(|| {
            let text = "no place for the device key: set HOME or XDG_CONFIG_HOME";
            Failure::Local(text.to_owned())
        })?;
        let dir = base.join("openclaw-gateway");
        Ok(match agent {
            None => dir.join("device.key"),
            Some(name) => dir.join("agents").join(format!("{name}.key")),
        })
    }
}

impl Identity {
    /// Reads the key, or makes it at first use.
    pub(super) fn load_or_create(place: &Place, agent: Option<&str>) -> Result<Self, Failure> {
        let path = place.key_file(agent)?;
        if let Some(identity) = Self::load(&path)? {
            return Ok(identity);
        }
        create(&path)?;
        // Whoever made it, this process or another at the same moment: there is one.
        let made = Self::load(&path)?;
        made.ok_or_else(|| Failure::Local(format!("{} vanished", path.display())))
    }

    fn load(path: &Path) -> Result<Option<Self>, Failure> {
        let shown = path.display();
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::Local(format!("cannot read {shown}: {error}"))),
            Ok(metadata) => metadata,
        };
        let mode = metadata.mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(Failure::Local(format!(
                "{shown} can be read by others (mode {mode:04o}); chmod 600 {shown}"
            )));
        }
        if metadata.len() > CLIENT_KEY_BYTES_MAX {
            return Err(Failure::Local(format!("{shown} is no device key: it is too long")));
        }
        let pem = fs::read_to_string(path)
            .map_err(|error| Failure::Local(format!("cannot read {shown}: {error}")))?;
        let key = DeviceKey::from_pem(&pem).ok_or_else(|| {
            Failure::Local(format!(
                "{shown} holds no Ed25519 key in PEM; remove it to become a new device"
            ))
        })?;
        Ok(Some(Self { key }))
    }
}

/// Makes a key: written whole under a name of its own, then linked to its place, so that two
/// processes agree on one and no half of a key is ever seen.
fn create(path: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::Local(format!("cannot create {}: {error}", path.display()))
    };
    let dir = path.parent().unwrap_or(path);
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Failure::Local(format!("no randomness for a key: {error}")))?;
    let pem = DeviceKey::from_seed(&seed).to_pem();
    let draft = path.with_extension(format!("key.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::hard_link(&draft, path));
    // A draft that cannot be removed is private and harmless.
    let _removed = fs::remove_file(&draft);
    match written {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::shell::test_dir::TestDir;

    fn place(dir: &TestDir) -> Place {
        Place { xdg_config_home: Some(dir.path().join("config")), home: None }
    }

    #[test]
    fn a_key_is_made_once_for_a_person_and_for_each_agent() {
        let dir = TestDir::new("identity");
        let place = place(&dir);
        let key = |agent| Identity::load_or_create(&place, agent).unwrap().key.public_key();
        assert_eq!(key(None), key(None));
        assert_eq!(key(Some("a")), key(Some("a")));
        assert_ne!(key(None), key(Some("a")));
        assert_ne!(key(Some("b")), key(Some("a")));
        let file = place.key_file(Some("a")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().unwrap()), 0o700);
        assert_eq!(mode(file.parent().unwrap().parent().unwrap()), 0o700);
        let names = fs::read_dir(file.parent().unwrap()).unwrap().count();
        assert_eq!(names, 2, "no draft is left");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = TestDir::new("identity");
        let place = place(&dir);
        Identity::load_or_create(&place, None).unwrap();
        let file = place.key_file(None).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let Err(Failure::Local(text)) = Identity::load_or_create(&place, None) else {
            unreachable!("refused")
        };
        assert!(text.contains("chmod 600"), "{text}");
    }

    #[test]
    fn a_damaged_key_is_not_replaced() {
        let dir = TestDir::new("identity");
        let place = place(&dir);
        Identity::load_or_create(&place, None).unwrap();
        let file = place.key_file(None).unwrap();
        fs::write(&file, "nonsense").unwrap();
        assert!(Identity::load_or_create(&place, None).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "nonsense");
    }
}
