//! A run's curves as `TensorBoard` event files.
//!
//! An event file is a sequence of records, each holding one protobuf `Event`. The three messages that a scalar
//! needs are encoded here by hand: a protobuf compiler would weigh more than they do.
//!
//! ```text
//! record: length u64 | masked CRC32C of length u32 | event | masked CRC32C of event u32      (little-endian)
//! Event   { double wall_time = 1; int64 step = 2;
//!           string file_version = 3 | Summary summary = 5 | SessionLog session_log = 7 }
//! Summary { repeated Value value = 1 }     Value { string tag = 1; float simple_value = 2 }
//! SessionLog { SessionStatus status = 1 }  SessionStatus { START = 1 }
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// First event of every file; a reader takes nothing else without it.
const FILE_VERSION: &str = "brain.Event:2";

/// Writes the scalars of one run. Errors are the bare ones of the system, for the caller to put a path on.
///
/// Events are buffered: [`flush`](EventWriter::flush) shows them to a `TensorBoard` that is watching. Dropping the
/// writer flushes too, but cannot report an error.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl EventWriter {
    /// Starts a new event file in `folder`, which is made when it is not there. Files that are already in it stay:
    /// a reader joins them in the order of their names, which begin with the time.
    pub fn create(folder: &Path) -> io::Result<EventWriter> {
        fs::create_dir_all(folder)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let process = std::process::id();
        let mut attempt = 0;
        let (path, file) = loop {
            // The usual form is events.out.tfevents.TIME.HOST.PROCESS.NUMBER; microseconds stand for the host, so
            // that the files of two processes within one second still sort by time.
            let (seconds, micros) = (now.as_secs(), now.subsec_micros());
            let path = folder.join(format!("events.out.tfevents.{seconds:010}.{micros:06}.{process}.{attempt}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
                Err(error) => return Err(error),
            }
        };
        let mut writer = EventWriter { path, file: BufWriter::new(file) };
        let mut event = begin_event(now.as_secs_f64(), 0);
        put_bytes(&mut event, 3, FILE_VERSION.as_bytes());
        writer.record(&event)?;
        Ok(writer)
    }

    /// Starts a new event file for a run that goes on at `step`: readers forget what earlier files say of this
    /// step and later ones.
    pub fn resume(folder: &Path, step: u64) -> io::Result<EventWriter> {
        let mut writer = EventWriter::create(folder)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let mut event = begin_event(now.as_secs_f64(), step);
        put_bytes(&mut event, 7, &[1 << 3, 1]);
        writer.record(&event)?;
        Ok(writer)
    }

    /// One point of the curve `tag` (slashes group curves, as in `loss/held_out`). `wall_time` is in seconds since
    /// 1970.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f32, wall_time: f64) -> io::Result<()> {
        let mut entry = Vec::with_capacity(tag.len() + 16);
        put_bytes(&mut entry, 1, tag.as_bytes());
        entry.push(2 << 3 | 5);
        entry.extend_from_slice(&value.to_le_bytes());
        let mut summary = Vec::with_capacity(entry.len() + 8);
        put_bytes(&mut summary, 1, &entry);
        let mut event = begin_event(wall_time, step);
        put_bytes(&mut event, 5, &summary);
        self.record(&event)
    }

    /// Hands everything written so far to the system.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    /// The event file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn record(&mut self, event: &[u8]) -> io::Result<()> {
        let length = (event.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(event.len() + 16);
        record.extend_from_slice(&length);
        record.extend_from_slice(&masked_crc(&length).to_le_bytes());
        record.extend_from_slice(event);
        record.extend_from_slice(&masked_crc(event).to_le_bytes());
        self.file.write_all(&record)
    }
}

/// The checksum of a record: CRC32C, rotated right by 15 bits, plus a constant, so that a checksum of data which holds
/// checksums stays sound.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8)
}

fn begin_event(wall_time: f64, step: u64) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend_from_slice(&wall_time.to_le_bytes());
    event.push(2 << 3);
    put_varint(&mut event, step);
    event
}

/// A length-delimited field: string, bytes or message.
fn put_bytes(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push(field << 3 | 2);
    put_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Event {
        wall_time: f64,
        step: u64,
        file_version: String,
        tag: String,
        value: f32,
        session: u64,
    }

    fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
        let (head, tail) = bytes.split_at(count);
        *bytes = tail;
        head
    }

    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = take(bytes, 1)[0];
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return value;
            }
            shift += 7;
        }
    }

    /// Reads a message of any nesting into the one event that it belongs to.
    fn decode(mut bytes: &[u8], inside: &str, event: &mut Event) {
        while !bytes.is_empty() {
            let field = varint(&mut bytes);
            match (inside, field >> 3, field & 7) {
                ("event", 1, 1) => event.wall_time = f64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap()),
                ("event", 2, 0) => event.step = varint(&mut bytes),
                ("session", 1, 0) => event.session = varint(&mut bytes),
                ("value", 2, 5) => event.value = f32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap()),
                (_, number, 2) => {
                    let length = varint(&mut bytes) as usize;
                    let inner = take(&mut bytes, length);
                    let text = || String::from_utf8(inner.to_vec()).unwrap();
                    match (inside, number) {
                        ("event", 3) => event.file_version = text(),
                        ("event", 5) => decode(inner, "summary", event),
                        ("event", 7) => decode(inner, "session", event),
                        ("summary", 1) => decode(inner, "value", event),
                        ("value", 1) => event.tag = text(),
                        other => panic!("unexpected field {other:?}"),
                    }
                }
                other => panic!("unexpected field {other:?}"),
            }
        }
    }

    fn read(path: &Path) -> Vec<Event> {
        let bytes = fs::read(path).unwrap();
        let mut bytes = &bytes[..];
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let length = take(&mut bytes, 8);
            assert_eq!(take(&mut bytes, 4), masked_crc(length).to_le_bytes());
            let body = take(&mut bytes, u64::from_le_bytes(length.try_into().unwrap()) as usize);
            assert_eq!(take(&mut bytes, 4), masked_crc(body).to_le_bytes());
            let mut event = Event::default();
            decode(body, "event", &mut event);
            events.push(event);
        }
        events
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(&folder.path().join("runs/one")).unwrap();
        let long = "损失/".repeat(60);
        let points = [("loss/train", 0, 9.01), (&*long, 1, -0.5), ("rate", 300, f32::NAN), ("x", u64::MAX, 0.0)];
        for (index, (tag, step, value)) in points.iter().enumerate() {
            writer.scalar(tag, *step, *value, 1.7e9 + index as f64 * 0.25).unwrap();
        }
        writer.flush().unwrap();
        let events = read(writer.path());
        assert_eq!(events.len(), 5);
        assert_eq!(events[0].file_version, FILE_VERSION);
        for (index, (tag, step, value)) in points.iter().enumerate() {
            let event = &events[index + 1];
            assert_eq!((&*event.tag, event.step), (*tag, *step));
            assert_eq!(event.value.to_bits(), value.to_bits());
            assert_eq!(event.wall_time, 1.7e9 + index as f64 * 0.25);
        }
    }

    #[test]
    fn resuming_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let first = EventWriter::create(folder.path()).unwrap();
        let mut second = EventWriter::resume(folder.path(), 700).unwrap();
        second.flush().unwrap();
        assert_ne!(first.path(), second.path());
        let events = read(second.path());
        assert_eq!((events[1].session, events[1].step), (1, 700));
    }

    #[test]
    fn checksum_of_a_known_record() {
        // CRC32C of "123456789" is 0xE3069283 (RFC 3720).
        assert_eq!(masked_crc(b"123456789"), 0xE306_9283_u32.rotate_right(15).wrapping_add(0xA282_EAD8));
    }
}
