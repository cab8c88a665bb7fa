//! Enums over models that do the same. Burn derives `Module` for enums too, but puts the variant before the names of parameters, and
//! these are the checkpoint's.

/// Evaluates an expression with the model inside: `inside!(self, Gpt | Llama, model => expression)`.
macro_rules! inside {
    ($value:expr, $($variant:ident)|+, $model:ident => $expression:expr) => {
        match $value {
            $(Self::$variant($model) => $expression),+
        }
    };
}
pub(crate) use inside;

/// `Module` for an enum whose every variant holds a module, as if the enum were not there; and `From` each of them.
macro_rules! one_of {
    ($name:ident { $($variant:ident($model:ty)),+ $(,)? }) => {
        $(impl From<$model> for $name {
            fn from(model: $model) -> Self {
                Self::$variant(model)
            }
        })+

        // What holds one of these shows its own parts.
        impl burn::module::ModuleDisplay for $name {}

        impl burn::module::ModuleDisplayDefault for $name {
            fn content(&self, content: burn::module::Content) -> Option<burn::module::Content> {
                Some(content)
            }
        }

        impl burn::module::Module for $name {
            fn collect_devices(&self, devices: burn::module::Devices) -> burn::module::Devices {
                match self {
                    $(Self::$variant(model) => model.collect_devices(devices)),+
                }
            }

            fn fork(self, device: &burn::tensor::Device) -> Self {
                match self {
                    $(Self::$variant(model) => Self::$variant(model.fork(device))),+
                }
            }

            fn to_device(self, device: &burn::tensor::Device) -> Self {
                match self {
                    $(Self::$variant(model) => Self::$variant(model.to_device(device))),+
                }
            }

            fn train(self) -> Self {
                match self {
                    $(Self::$variant(model) => Self::$variant(model.train())),+
                }
            }

            fn valid(&self) -> Self {
                match self {
                    $(Self::$variant(model) => Self::$variant(model.valid())),+
                }
            }

            fn materialize(self) -> Self {
                match self {
                    $(Self::$variant(model) => Self::$variant(model.materialize())),+
                }
            }

            fn num_params(&self) -> usize {
                match self {
                    $(Self::$variant(model) => burn::module::Module::num_params(model)),+
                }
            }

            fn visit<V: burn::module::ModuleVisitor>(&self, visitor: &mut V) {
                match self {
                    $(Self::$variant(model) => model.visit(visitor)),+
                }
            }

            fn map<M: burn::module::ModuleMapper>(self, mapper: &mut M) -> Self {
                match self {
                    $(Self::$variant(model) => Self::$variant(model.map(mapper))),+
                }
            }
        }
    };
}
pub(crate) use one_of;
