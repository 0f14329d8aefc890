//! A disk in memory that can be full, fail to sync, and lose power.
//!
//! It tells what the disk has from what only the page cache has: a write reaches the platter with
//! the next successful sync. When a sync fails or the power goes, each page written since then
//! has reached the platter or not, by chance, as on real hardware.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use super::Random;

const PAGE: usize = 512;

#[derive(Clone, Debug)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    platter: Vec<u8>,
    /// Pages written since the last sync, by number.
    cached: BTreeMap<usize, [u8; PAGE]>,
    len: usize,
    /// Pages that were ever written; a full disk takes no more than `pages_max` of them.
    allocated: HashSet<usize>,
    pages_max: usize,
    syncs_fail: bool,
    random: u64,
    /// Counts power cuts; a backend from before one is dead.
    power: u32,
}

/// What the database library gets.
#[derive(Debug)]
struct Backend {
    disk: Disk,
    power: u32,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            platter: Vec::new(),
            cached: BTreeMap::new(),
            len: 0,
            allocated: HashSet::new(),
            pages_max: usize::MAX,
            syncs_fail: false,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            power: 0,
        })))
    }

    pub(super) fn backend(&self) -> io::Result<impl StorageBackend + use<>> {
        Ok(Backend { disk: self.clone(), power: self.state().power })
    }

    /// From now on, no page is taken that was never written before, or again every page is.
    pub(super) fn set_full(&self, full: bool) {
        let mut state = self.state();
        state.pages_max = if full { state.allocated.len() } else { usize::MAX };
    }

    pub(super) fn set_syncs_fail(&self, fail: bool) {
        self.state().syncs_fail = fail;
    }

    /// Loses what was not synced, or by chance only some of it, and kills every open backend.
    pub(super) fn cut_power(&self) {
        let mut state = self.state();
        state.lose();
        state.power += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn lose(&mut self) {
        let mut random = Random(self.random);
        for (number, page) in std::mem::take(&mut self.cached) {
            if random.below(2) == 0 {
                self.put(number, &page);
            }
        }
        self.random = random.next();
    }

    fn put(&mut self, number: usize, page: &[u8; PAGE]) {
        let start = number * PAGE;
        if self.platter.len() < start + PAGE {
            self.platter.resize(start + PAGE, 0);
        }
        self.platter[start..start + PAGE].copy_from_slice(page);
    }

    fn page(&self, number: usize) -> [u8; PAGE] {
        if let Some(page) = self.cached.get(&number) {
            return *page;
        }
        let start = number * PAGE;
        self.platter.get(start..start + PAGE).map_or([0; PAGE], |page| page.try_into().unwrap())
    }
}

impl Backend {
    fn live(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.power == self.power { Ok(state) } else { Err(io::Error::other("power cut")) }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.live()?.len as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.live()?;
        let start = usize::try_from(offset).unwrap();
        if start + out.len() > state.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        while done < out.len() {
            let at = start + done;
            let page = state.page(at / PAGE);
            let part = (out.len() - done).min(PAGE - at % PAGE);
            out[done..done + part].copy_from_slice(&page[at % PAGE..at % PAGE + part]);
            done += part;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.live()?;
        state.len = usize::try_from(len).unwrap();
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.live()?;
        if state.syncs_fail {
            state.lose();
            return Err(io::Error::other("injected: fsync failed"));
        }
        for (number, page) in std::mem::take(&mut state.cached) {
            state.put(number, &page);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.live()?;
        let start = usize::try_from(offset).unwrap();
        let end = start + data.len();
        for number in start / PAGE..end.div_ceil(PAGE) {
            if !state.allocated.contains(&number) {
                if state.allocated.len() >= state.pages_max {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                state.allocated.insert(number);
            }
            let mut page = state.page(number);
            let from = start.max(number * PAGE);
            let to = end.min((number + 1) * PAGE);
            page[from - number * PAGE..to - number * PAGE]
                .copy_from_slice(&data[from - start..to - start]);
            state.cached.insert(number, page);
        }
        Ok(())
    }
}
