//! A module's parameters as a flat list in a fixed order, under their checkpoint names. Optimizer, ledger and
//! checkpoints work on this list and know nothing of models.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Path of fields, as in `transformer.h.0.attn.c_attn.weight`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl Parameter {
    /// Number of elements.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn name(&self) -> String {
        self.0.join(".")
    }
}

/// Names and shapes, in the order that every function of this module keeps.
pub fn list<M: Module>(module: &M) -> Vec<Parameter> {
    struct List(Path, Vec<Parameter>);
    impl ModuleVisitor for List {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.0.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.1.push(Parameter { name: self.0.name(), shape: parameter.lazy_shape().to_vec() });
        }
    }
    let mut visitor = List(Path::default(), Vec::new());
    module.visit(&mut visitor);
    visitor.1
}

/// Every parameter's values, flat, without its graph. The tensors share the module's memory until one is changed.
pub fn values<M: Module>(module: &M) -> Vec<Tensor<1>> {
    struct Values(Vec<Tensor<1>>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.0.push(parameter.val().inner().flatten(0, D - 1));
        }
    }
    let mut visitor = Values(Vec::new());
    module.visit(&mut visitor);
    visitor.0
}

/// Every parameter's gradient, flat; none where the backward did not reach it.
pub fn gradients<M: Module>(module: &M, mut gradients: Gradients) -> Vec<Option<Tensor<1>>> {
    struct Collect<'a>(&'a mut Gradients, Vec<Option<Tensor<1>>>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            let gradient = parameter.val().grad_remove(self.0);
            self.1.push(gradient.map(|gradient| gradient.flatten(0, D - 1)));
        }
    }
    let mut visitor = Collect(&mut gradients, Vec::new());
    module.visit(&mut visitor);
    visitor.1
}

/// Replaces every parameter by what `change` makes of it: it receives the parameter's place in the list and its
/// values, flat and, unless someone else still holds them, in memory that may be changed in place.
pub fn update<M: Module>(module: M, change: impl FnMut(usize, Tensor<1>) -> Tensor<1>) -> M {
    struct Update<F>(usize, F);
    impl<F: FnMut(usize, Tensor<1>) -> Tensor<1>> ModuleMapper for Update<F> {
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, tensor, mapper) = parameter.consume();
            let (tracked, attached) = (tensor.is_require_grad(), tensor.is_autodiff());
            let shape = tensor.dims();
            let value = (self.1)(self.0, tensor.inner().flatten(0, D - 1)).reshape(shape);
            self.0 += 1;
            let value = if attached { value.autodiff() } else { value };
            Param::from_mapped_value(id, if tracked { value.require_grad() } else { value }, mapper)
        }
    }
    module.map(&mut Update(0, change))
}

/// A module whose parameters take no gradients of their own, with what `change` gives for a place in the list added to the
/// matrix there, through which gradients pass on. `differentiated` says whether these sums are part of a graph.
pub fn adapt<M: Module>(module: M, differentiated: bool, change: impl FnMut(usize) -> Option<Tensor<2>>) -> M {
    struct Adapt<F>(usize, bool, F);
    impl<F: FnMut(usize) -> Option<Tensor<2>>> ModuleMapper for Adapt<F> {
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, tensor, mapper) = parameter.consume();
            let shape = tensor.dims();
            let value = if tensor.is_autodiff() { tensor.inner() } else { tensor };
            let value = if self.1 { value.autodiff() } else { value };
            let added = (self.2)(self.0);
            self.0 += 1;
            let value = match added {
                Some(added) => value + added.reshape(shape),
                None => value,
            };
            Param::from_mapped_value(id, value, mapper)
        }
    }
    module.map(&mut Adapt(0, differentiated, change))
}

/// Replaces every parameter by the values that `source` gives for its name and shape.
///
/// # Errors
/// The first error of `source`; the module is lost with it.
pub fn load<M: Module, E>(module: M, mut source: impl FnMut(&Parameter) -> Result<Vec<f32>, E>) -> Result<M, E> {
    let names = list(&module);
    let mut failure = None;
    let module = update(module, |index, old| {
        if failure.is_some() {
            return old;
        }
        match source(&names[index]) {
            Ok(values) => Tensor::from_data(TensorData::new(values, [names[index].count()]), &old.device()),
            Err(error) => {
                failure = Some(error);
                old
            }
        }
    });
    failure.map_or(Ok(module), Err)
}

/// A tensor's values on the host.
pub fn to_host(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion")
}

/// A tensor of host values.
pub fn from_host(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), device)
}
