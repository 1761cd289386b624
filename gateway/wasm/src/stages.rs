//! Plugins as stages of a worker's pipelines. Apart from `plugin`, which knows neither stages nor the instances of workers.

use std::{rc::Rc, sync::Arc};

use gateway_pipeline::Stage;

use super::{plugin::Prepared, pools::Pools, services::Services, stage::PluginStage};

impl Prepared {
    /// This plugin as a worker's stage of a pipeline. Instances are shared with stages of the same making, also across a
    /// reload.
    pub fn stage(self: &Arc<Self>, pools: &Pools, services: &Rc<Services>) -> Rc<dyn Stage> {
        Rc::new(PluginStage::new(pools.pool(self, services), Rc::clone(services)))
    }
}
