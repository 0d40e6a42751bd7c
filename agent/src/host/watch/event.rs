//! Events as the kernel writes them (`fanotify(7)`).

/// One event: of `struct fanotify_event_metadata` and the record of the name behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    pub(super) mask: u64,
    pub(super) pid: u32,
    /// Empty where the directory itself is meant.
    pub(super) name: &'a str,
}

/// Events as the kernel writes them, one behind the other.
pub(super) struct Events<'a>(pub(super) &'a [u8]);

/// The bytes of `struct fanotify_event_metadata`.
pub(super) const METADATA: usize = 24;
/// The bytes in a record before the file handle's own: its head, the file system, size and type.
const BEFORE_HANDLE: usize = 20;
/// The kind of record that has a directory and a name.
const DFID_NAME: u8 = 2;

impl<'a> Iterator for Events<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        let length = usize::try_from(number(self.0, 0)?).ok().filter(|len| *len >= METADATA)?;
        let (event, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let mask = u64::from_ne_bytes(event.get(8..16)?.try_into().ok()?);
        let pid = number(event, 20)?;
        Some(Event { mask, pid, name: name(event.get(METADATA..)?).unwrap_or_default() })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Returns the name in the first record that has one.
fn name(mut records: &[u8]) -> Option<&str> {
    loop {
        let kind = *records.first()?;
        let length = u16::from_ne_bytes(records.get(2..4)?.try_into().ok()?);
        let (record, rest) = records.split_at_checked(usize::from(length).max(4))?;
        if kind == DFID_NAME {
            let handle = usize::try_from(number(record, 12)?).ok()?;
            let name = record.get(BEFORE_HANDLE.checked_add(handle)?..)?;
            let name = name.split(|byte| *byte == 0).next()?;
            return std::str::from_utf8(name).ok().filter(|name| *name != ".");
        }
        records = rest;
    }
}
