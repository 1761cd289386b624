//! What a plugin says that it has an answer for: asked of a configured instance, when a configuration is checked.

use std::{rc::Rc, sync::Arc, time::Duration};

use gateway_pipeline::StageFailure;
use wasmtime::component::TypedFunc;

use super::prepared::{Prepared, Refusal};
use crate::{
    bindings,
    engine::threads::{no_thread, on_own_runtime},
    instance::{CallScope, Functions, Instance},
    services::{Services, Shared},
};

/// Writing a document of hundreds of calls takes a while.
const TIME: Duration = Duration::from_secs(5);
/// Of one configuration.
const ENDPOINTS: usize = 10_000;
const TEXT_BYTES: usize = 1024;

/// What is asked without a word.
type Question<R> = TypedFunc<(), (R,)>;

/// A request that a plugin has an answer for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Empty for any.
    pub method: String,
    /// A pattern.
    pub path: String,
    /// For people.
    pub about: String,
}

impl Prepared {
    /// What it has an answer for with its configuration; `None` if it does not say. Blocks, so not for workers.
    ///
    /// # Errors
    ///
    /// It cannot be configured, the call fails, or there are too many; in words.
    pub fn endpoints(&self, shared: &Arc<Shared>) -> Result<Option<Vec<Endpoint>>, String> {
        let Some(endpoints) = self.ask(shared, |functions| functions.endpoints)? else { return Ok(None) };
        if endpoints.len() > ENDPOINTS {
            return Err(format!("it has {} endpoints, and {ENDPOINTS} can be taken up", endpoints.len()));
        }
        let shown = |text: String| text.chars().filter(|c| !c.is_control()).take(TEXT_BYTES).collect::<String>();
        let endpoint = |bindings::Endpoint { method, path, about }| Endpoint {
            method: shown(method),
            path: shown(path),
            about: shown(about),
        };
        Ok(Some(endpoints.into_iter().map(endpoint).collect()))
    }

    /// An OpenAPI document about that; `None` if it has none. Blocks, so not for workers.
    ///
    /// # Errors
    ///
    /// It cannot be configured, or the call fails; in words.
    pub fn openapi(&self, shared: &Arc<Shared>) -> Result<Option<String>, String> {
        let document = self.ask(shared, |functions| functions.openapi)?;
        Ok(document.filter(|text| !text.is_empty()))
    }

    fn ask<R>(&self, shared: &Arc<Shared>, function: fn(&Functions) -> Option<Question<R>>) -> Result<Option<R>, String>
    where
        R: Send + Sync + 'static,
        (R,): wasmtime::component::ComponentNamedList + wasmtime::component::Lift,
    {
        let services = || Rc::new(Services::without_worker(Arc::clone(shared)));
        let metrics = || shared.metrics.plugin(0, &self.identity.name);
        let answer = if self.can_wait(shared) {
            let asked = on_own_runtime(async || {
                let services = services();
                let room = self.loaded.blueprint.reserve_for_trial()?;
                let mut instance = self.instance_on_fiber(metrics(), &services, room).await?;
                let Some(function) = function(instance.functions()) else { return Ok(None) };
                let scope = CallScope { slot: None, services: &services, time: TIME };
                Ok(Some(instance.call_on_fiber(function, (), scope).await?))
            });
            asked.unwrap_or_else(|error| Err(Refusal::Failure(no_thread(&error))))
        } else {
            let services = services();
            let room = self.loaded.blueprint.reserve_for_trial().map_err(Refusal::from);
            room.and_then(|room| self.instance(metrics(), &services, room)).and_then(|mut instance: Instance| {
                let Some(function) = function(instance.functions()) else { return Ok(None) };
                let scope = CallScope { slot: None, services: &services, time: TIME };
                Ok(Some(instance.call(function, (), scope)?))
            })
        };
        match answer {
            Ok(answer) => Ok(answer.map(|(answer,)| answer)),
            Err(refusal) => Err(StageFailure::from(refusal).detail),
        }
    }
}
