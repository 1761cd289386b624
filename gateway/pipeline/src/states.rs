//! What stages keep of an exchange for themselves.

use std::any::Any;

use smallvec::SmallVec;

/// The states of stages, by the stage's position: each stage has at most one, of a type of its own. None is made before its stage
/// asks for it, and most stages never do.
#[derive(Default)]
pub(super) struct States(SmallVec<[(usize, Box<dyn Any>); 1]>);

impl States {
    fn position(&self, stage: usize) -> Option<usize> {
        self.0.iter().position(|(position, _)| *position == stage)
    }

    pub(super) fn get<T: 'static>(&self, stage: usize) -> Option<&T> {
        self.0[self.position(stage)?].1.downcast_ref()
    }

    pub(super) fn get_mut<T: 'static>(&mut self, stage: usize) -> Option<&mut T> {
        let index = self.position(stage)?;
        self.0[index].1.downcast_mut()
    }

    pub(super) fn get_or_default<T: Default + 'static>(&mut self, stage: usize) -> &mut T {
        let index = self.position(stage).unwrap_or_else(|| {
            self.0.push((stage, Box::<T>::default()));
            self.0.len() - 1
        });
        self.0[index].1.downcast_mut().expect("a stage has one type of state")
    }

    /// Drops the states of all other stages, and with them what they hold, such as locks.
    pub(super) fn keep_only(&mut self, stages: &[usize]) {
        self.0.retain(|(position, _)| stages.contains(position));
    }

    /// Drops the state of a stage.
    pub(super) fn drop_state(&mut self, stage: usize) {
        self.0.retain(|(position, _)| *position != stage);
    }

    pub(super) fn set<T: 'static>(&mut self, stage: usize, state: T) {
        self.0.retain(|(position, _)| *position != stage);
        self.0.push((stage, Box::new(state)));
    }
}
