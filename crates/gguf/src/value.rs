//! Metadata values.

macro_rules! kinds {
    ($($name:ident($type:ty) = $code:literal,)*) => {
        /// A metadata value.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "the names of the types say it")]
        pub enum Value {
            $($name($type),)*
            Array(Array),
        }

        /// A list of values of one type.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "the names of the types say it")]
        pub enum Array {
            $($name(Vec<$type>),)*
            Array(Vec<Array>),
        }

        impl Value {
            /// The number that stands for this type in files.
            pub(crate) fn code(&self) -> u32 {
                match self {
                    $(Self::$name(_) => $code,)*
                    Self::Array(_) => 9,
                }
            }
        }

        impl Array {
            /// The number that stands for the elements' type in files.
            pub(crate) fn code(&self) -> u32 {
                match self {
                    $(Self::$name(_) => $code,)*
                    Self::Array(_) => 9,
                }
            }

            /// Number of elements.
            pub fn len(&self) -> usize {
                match self {
                    $(Self::$name(items) => items.len(),)*
                    Self::Array(items) => items.len(),
                }
            }

            /// Whether there are none.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }
    };
}

kinds! {
    U8(u8) = 0,
    I8(i8) = 1,
    U16(u16) = 2,
    I16(i16) = 3,
    U32(u32) = 4,
    I32(i32) = 5,
    F32(f32) = 6,
    Bool(bool) = 7,
    String(String) = 8,
    U64(u64) = 10,
    I64(i64) = 11,
    F64(f64) = 12,
}

impl Value {
    /// A whole number that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U8(x) => Some(x.into()),
            Self::U16(x) => Some(x.into()),
            Self::U32(x) => Some(x.into()),
            Self::U64(x) => Some(x),
            Self::I8(x) => x.try_into().ok(),
            Self::I16(x) => x.try_into().ok(),
            Self::I32(x) => x.try_into().ok(),
            Self::I64(x) => x.try_into().ok(),
            _ => None,
        }
    }

    /// A number of any type.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(x) => Some(x.into()),
            Self::F64(x) => Some(x),
            _ => self.as_u64().map(|x| x as f64),
        }
    }

    /// A text.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// True or false.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(flag) = self { Some(*flag) } else { None }
    }

    /// A list of texts.
    pub fn as_strings(&self) -> Option<&[String]> {
        if let Self::Array(Array::String(texts)) = self { Some(texts) } else { None }
    }

    /// A list of `f32` numbers.
    pub fn as_floats(&self) -> Option<&[f32]> {
        if let Self::Array(Array::F32(numbers)) = self { Some(numbers) } else { None }
    }

    /// A list of `i32` numbers.
    pub fn as_integers(&self) -> Option<&[i32]> {
        if let Self::Array(Array::I32(numbers)) = self { Some(numbers) } else { None }
    }

    /// A list of true and false.
    pub fn as_flags(&self) -> Option<&[bool]> {
        if let Self::Array(Array::Bool(flags)) = self { Some(flags) } else { None }
    }
}
