//! A reader of pickles that runs nothing.
//!
//! A pickle is a program for a stack machine, whose instructions may call any function that Python can import. This
//! machine has the instructions that a state dict is written with, and knows of functions only the handful that put a
//! tensor together, as records. Values live in flat lists and refer to each other by number, so neither depth nor cycles
//! cost anything; every instruction makes at most one value, so memory is bounded by the pickle's length.

use safetensors::Dtype;
use std::collections::HashMap;

/// The type of the numbers in a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StorageType(pub Dtype);

/// What a name of Python's stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(StorageType),
}

impl Global {
    /// The only names that are known.
    fn find(module: &str, name: &str) -> Option<Self> {
        let storage = |kind| Some(Self::Storage(StorageType(kind)));
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch" | "torch.storage", "DoubleStorage") => storage(Dtype::F64),
            ("torch" | "torch.storage", "FloatStorage") => storage(Dtype::F32),
            ("torch" | "torch.storage", "HalfStorage") => storage(Dtype::F16),
            ("torch" | "torch.storage", "BFloat16Storage") => storage(Dtype::BF16),
            ("torch" | "torch.storage", "LongStorage") => storage(Dtype::I64),
            ("torch" | "torch.storage", "IntStorage") => storage(Dtype::I32),
            ("torch" | "torch.storage", "ShortStorage") => storage(Dtype::I16),
            ("torch" | "torch.storage", "CharStorage") => storage(Dtype::I8),
            ("torch" | "torch.storage", "ByteStorage") => storage(Dtype::U8),
            ("torch" | "torch.storage", "BoolStorage") => storage(Dtype::BOOL),
            _ => None,
        }
    }
}

/// A value; the numbers count into the lists of [`Pickle`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// A number that no state dict needs the value of.
    Number,
    Text(usize),
    Bytes,
    Tuple(usize),
    List(usize),
    Dict(usize),
    Set,
    Global(Global),
    Storage(usize),
    Tensor(usize),
    Mark,
}

impl Value {
    /// What it is, in words.
    pub fn kind(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Bool(_) | Self::Int(_) | Self::Number => "a number",
            Self::Text(_) => "a text",
            Self::Bytes => "bytes",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Set => "a set",
            Self::Global(_) => "a function",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a single tensor",
            Self::Mark => "a mark",
        }
    }
}

/// A storage as the pickle names it.
#[derive(Debug)]
pub(super) struct StorageRecord<'a> {
    pub kind: StorageType,
    pub key: &'a str,
    /// How many numbers it has.
    pub count: usize,
    /// Where a view begins in it, in numbers: of the old format only.
    pub view: usize,
}

/// A tensor as the pickle describes it.
#[derive(Debug)]
pub(super) struct TensorRecord {
    pub storage: usize,
    /// In numbers.
    pub offset: usize,
    pub shape: Vec<usize>,
    /// In numbers.
    pub strides: Vec<usize>,
}

/// Everything that one pickle holds.
#[derive(Debug, Default)]
pub(super) struct Pickle<'a> {
    pub texts: Vec<&'a str>,
    tuples: Vec<Vec<Value>>,
    pub lists: Vec<Vec<Value>>,
    pub dicts: Vec<Vec<(Value, Value)>>,
    pub storages: Vec<StorageRecord<'a>>,
    pub tensors: Vec<TensorRecord>,
    stack: Vec<Value>,
    memo: HashMap<u64, Value>,
}

/// The most dimensions that a tensor has.
const MOST_DIMENSIONS: usize = 16;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or("ends inside an instruction; was it cut short?")?;
        self.at += taken.len();
        Ok(taken)
    }

    fn number(&mut self, bytes: u64) -> Result<u64, String> {
        let mut wide = [0; 8];
        wide[..bytes as usize].copy_from_slice(self.take(bytes)?);
        Ok(u64::from_le_bytes(wide))
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or("ends inside a line; was it cut short?")?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| "holds a name that is not UTF-8".to_owned())
    }

    fn text(&mut self, length: u64) -> Result<&'a str, String> {
        std::str::from_utf8(self.take(length)?).map_err(|_| "holds a text that is not UTF-8".to_owned())
    }
}

impl<'a> Pickle<'a> {
    /// Reads one pickle; its value comes back, and how many bytes it had.
    pub fn read(&mut self, bytes: &'a [u8]) -> Result<(Value, usize), String> {
        let mut reader = Reader { bytes, at: 0 };
        loop {
            let at = reader.at;
            let code = reader.take(1)?[0];
            if code == b'.' {
                return Ok((self.pop()?, reader.at));
            }
            let known = self.step(code, &mut reader).map_err(|reason| format!("{reason} (byte {at})"))?;
            if !known {
                let shown = char::from(code);
                return Err(format!(
                    "has an instruction {shown:?} at byte {at}, which no state dict has; it was not run"
                ));
            }
        }
    }

    fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    fn pop(&mut self) -> Result<Value, String> {
        match self.stack.pop() {
            None | Some(Value::Mark) => Err("takes a value that is not there".into()),
            Some(value) => Ok(value),
        }
    }

    /// The values above the last mark.
    fn above_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.stack.iter().rposition(|value| *value == Value::Mark).ok_or("takes values without a mark")?;
        let values = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(values)
    }

    fn add_text(&mut self, text: &'a str) -> Value {
        self.texts.push(text);
        Value::Text(self.texts.len() - 1)
    }

    fn add_tuple(&mut self, values: Vec<Value>) -> Value {
        self.tuples.push(values);
        Value::Tuple(self.tuples.len() - 1)
    }

    fn add_list(&mut self, values: Vec<Value>) -> Value {
        self.lists.push(values);
        Value::List(self.lists.len() - 1)
    }

    fn add_dict(&mut self, entries: Vec<(Value, Value)>) -> Value {
        self.dicts.push(entries);
        Value::Dict(self.dicts.len() - 1)
    }

    fn pairs(values: &[Value]) -> Result<Vec<(Value, Value)>, String> {
        let (pairs, rest) = values.as_chunks::<2>();
        if rest.is_empty() {
            Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
        } else {
            Err("has a key without a value".into())
        }
    }

    fn extend_list(&mut self, values: Vec<Value>) -> Result<(), String> {
        match self.stack.last() {
            Some(&Value::List(list)) => self.lists[list].extend(values),
            Some(Value::Set) => {}
            _ => return Err("adds to what is not a list".into()),
        }
        Ok(())
    }

    fn extend_dict(&mut self, entries: Vec<(Value, Value)>) -> Result<(), String> {
        let Some(&Value::Dict(dict)) = self.stack.last() else { return Err("sets a key of what is not a dict".into()) };
        self.dicts[dict].extend(entries);
        Ok(())
    }

    fn remember(&mut self, place: u64) -> Result<(), String> {
        let value = *self.stack.last().ok_or("remembers a value that is not there")?;
        self.memo.insert(place, value);
        Ok(())
    }

    fn recall(&mut self, place: u64) -> Result<(), String> {
        let value = *self.memo.get(&place).ok_or("recalls a value that it has not")?;
        self.push(value);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), String> {
        let global = Global::find(module, name).ok_or_else(|| {
            format!("asks for {module}.{name}, which no state dict needs; it was not run. Do not trust this file")
        })?;
        self.push(Value::Global(global));
        Ok(())
    }

    /// One instruction; false where it is not known.
    fn step(&mut self, code: u8, reader: &mut Reader<'a>) -> Result<bool, String> {
        match code {
            // Protocol and frames.
            0x80 => {
                let version = reader.number(1)?;
                if version > 5 {
                    return Err(format!("is of protocol {version}; up to 5 are read"));
                }
            }
            0x95 => drop(reader.number(8)?),
            // Constants.
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => {
                let value = reader.number(4)? as u32 as i32;
                self.push(Value::Int(value.into()));
            }
            b'K' => {
                let value = reader.number(1)?;
                self.push(Value::Int(value as i64));
            }
            b'M' => {
                let value = reader.number(2)?;
                self.push(Value::Int(value as i64));
            }
            0x8a | 0x8b => {
                let length = reader.number(if code == 0x8a { 1 } else { 4 })?;
                let digits = reader.take(length)?;
                let value = if digits.len() <= 8 {
                    let negative = digits.last().is_some_and(|byte| byte & 0x80 != 0);
                    let mut wide = [if negative { 0xff } else { 0 }; 8];
                    wide[..digits.len()].copy_from_slice(digits);
                    Value::Int(i64::from_le_bytes(wide))
                } else {
                    Value::Number
                };
                self.push(value);
            }
            b'G' => {
                reader.take(8)?;
                self.push(Value::Number);
            }
            b'X' | 0x8c | 0x8d | b'T' | b'U' => {
                let width = match code {
                    0x8c | b'U' => 1,
                    0x8d => 8,
                    _ => 4,
                };
                let length = reader.number(width)?;
                let text = reader.text(length)?;
                let text = self.add_text(text);
                self.push(text);
            }
            b'B' | b'C' | 0x8e => {
                let width = match code {
                    b'C' => 1,
                    0x8e => 8,
                    _ => 4,
                };
                let length = reader.number(width)?;
                reader.take(length)?;
                self.push(Value::Bytes);
            }
            _ => return self.step_on_stack(code, reader),
        }
        Ok(true)
    }

    /// Instructions that take from the stack.
    fn step_on_stack(&mut self, code: u8, reader: &mut Reader<'a>) -> Result<bool, String> {
        match code {
            b'(' => self.push(Value::Mark),
            b'0' => drop(self.stack.pop().ok_or("drops a value that is not there")?),
            b'1' => drop(self.above_mark()?),
            b'2' => {
                let value = *self.stack.last().ok_or("copies a value that is not there")?;
                self.push(value);
            }
            // Tuples, lists, dicts, sets.
            b')' | b't' | 0x85 | 0x86 | 0x87 => {
                let values = match code {
                    b')' => Vec::new(),
                    b't' => self.above_mark()?,
                    _ => {
                        let mut values = Vec::new();
                        for _ in 0x85..=code {
                            values.push(self.pop()?);
                        }
                        values.reverse();
                        values
                    }
                };
                let tuple = self.add_tuple(values);
                self.push(tuple);
            }
            b']' | b'l' => {
                let values = if code == b'l' { self.above_mark()? } else { Vec::new() };
                let list = self.add_list(values);
                self.push(list);
            }
            b'a' => {
                let value = self.pop()?;
                self.extend_list(vec![value])?;
            }
            b'e' | 0x90 => {
                let values = self.above_mark()?;
                self.extend_list(values)?;
            }
            b'}' | b'd' => {
                let values = if code == b'd' { self.above_mark()? } else { Vec::new() };
                let dict = self.add_dict(Self::pairs(&values)?);
                self.push(dict);
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.extend_dict(vec![(key, value)])?;
            }
            b'u' => {
                let values = self.above_mark()?;
                self.extend_dict(Self::pairs(&values)?)?;
            }
            0x8f => self.push(Value::Set),
            // The memory.
            b'q' | b'r' => {
                let place = reader.number(if code == b'q' { 1 } else { 4 })?;
                self.remember(place)?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'h' | b'j' => {
                let place = reader.number(if code == b'h' { 1 } else { 4 })?;
                self.recall(place)?;
            }
            // Names, and what is made with them.
            b'c' => {
                let (module, name) = (reader.line()?, reader.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(name), Value::Text(module)) = (name, module) else {
                    return Err("asks for a name that is not a text".into());
                };
                let (module, name) = (self.texts[module], self.texts[name]);
                self.global(module, name)?;
            }
            b'Q' => {
                let identity = self.pop()?;
                let storage = self.storage(identity)?;
                self.push(storage);
            }
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let made = self.call(function, arguments)?;
                self.push(made);
            }
            // What a dict or a parameter carries beside its contents (`_metadata`) is not needed.
            b'b' => {
                self.pop()?;
                if !matches!(self.stack.last(), Some(Value::Dict(_) | Value::Tensor(_))) {
                    return Err("sets attributes of what has none".into());
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn tuple(&self, value: Value) -> Result<&[Value], String> {
        match value {
            Value::Tuple(tuple) => Ok(&self.tuples[tuple]),
            other => Err(format!("has {} where a tuple belongs", other.kind())),
        }
    }

    /// `("storage", type, key, device, numbers)`; in the old format also a view, `(key, offset, numbers)`, or none.
    fn storage(&mut self, identity: Value) -> Result<Value, String> {
        let found = match *self.tuple(identity)? {
            [
                Value::Text(tag),
                Value::Global(Global::Storage(kind)),
                Value::Text(key),
                _,
                Value::Int(count),
                ref rest @ ..,
            ] if self.texts[tag] == "storage" => {
                let view = match rest {
                    [] | [Value::None] => 0,
                    [Value::Tuple(view)] => match self.tuples[*view][..] {
                        [_, Value::Int(offset), Value::Int(_)] => size(offset)?,
                        _ => return Err("names a view of a storage in a way that is not known".into()),
                    },
                    _ => return Err("names a storage in a way that is not known".into()),
                };
                StorageRecord { kind, key: self.texts[key], count: size(count)?, view }
            }
            _ => return Err("names a storage in a way that is not known".into()),
        };
        self.storages.push(found);
        Ok(Value::Storage(self.storages.len() - 1))
    }

    fn call(&mut self, function: Value, arguments: Value) -> Result<Value, String> {
        match function {
            Value::Global(Global::OrderedDict) => {
                let list = match *self.tuple(arguments)? {
                    [] => None,
                    // Pairs, as Python 2 wrote them.
                    [Value::List(list)] => Some(list),
                    _ => return Err("makes a dict in a way that is not known".into()),
                };
                // Taken, not copied: a list that is used again and again would make memory of nothing.
                let pairs = list.map(|list| std::mem::take(&mut self.lists[list])).unwrap_or_default();
                let pair = |value: &Value| match *self.tuple(*value)? {
                    [key, value] => Ok((key, value)),
                    _ => Err("makes a dict of what are not pairs".to_owned()),
                };
                let entries = pairs.iter().map(pair).collect::<Result<_, String>>()?;
                Ok(self.add_dict(entries))
            }
            Value::Global(Global::RebuildTensor) => {
                let record = match *self.tuple(arguments)? {
                    [Value::Storage(storage), Value::Int(offset), shape, strides, ..] => TensorRecord {
                        storage,
                        offset: size(offset)?,
                        shape: self.sizes(shape)?,
                        strides: self.sizes(strides)?,
                    },
                    _ => return Err("makes a tensor in a way that is not known".into()),
                };
                self.tensors.push(record);
                Ok(Value::Tensor(self.tensors.len() - 1))
            }
            Value::Global(Global::RebuildParameter) => match *self.tuple(arguments)? {
                [tensor @ Value::Tensor(_), ..] => Ok(tensor),
                _ => Err("makes a parameter of what is not a tensor".into()),
            },
            other => Err(format!("calls {}; it was not run", other.kind())),
        }
    }

    fn sizes(&self, value: Value) -> Result<Vec<usize>, String> {
        let values = self.tuple(value)?;
        if values.len() > MOST_DIMENSIONS {
            return Err(format!("has a tensor of {} dimensions", values.len()));
        }
        let number = |value: &Value| match value {
            Value::Int(value) => size(*value),
            other => Err(format!("has {} where a size belongs", other.kind())),
        };
        values.iter().map(number).collect()
    }
}

fn size(value: i64) -> Result<usize, String> {
    usize::try_from(value).map_err(|_| format!("has a size of {value}"))
}
