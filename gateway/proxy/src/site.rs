//! What a worker serves by: one configuration, made ready for one thread.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    sync::Arc,
};

use gateway_core::{
    model::{Action, Config, Route},
    timers::Timers,
};
use gateway_http::request_id::RequestIds;
use gateway_pipeline::{Bounds, Exchange, Pipeline, Stage};
use gateway_route::Table;
use gateway_telemetry::{
    metrics::{Metrics, RouteMetrics},
    tail::Tail,
    trace::Tracer,
};
use gateway_upstream::{Upstream, Upstreams};

use super::{Handler, Tasks};

/// One worker's share of the gateway. Its site changes at a reload; exchanges under way keep theirs.
pub struct Worker {
    pub timers: Timers,
    pub request_ids: RequestIds,
    /// Observers that wait for something after their exchange has ended.
    pub observing: Tasks,
    pub(super) background_requests: Tasks,
    site: RefCell<Rc<Site>>,
    /// The stages of the site that have something to do now and then.
    ticking: RefCell<Vec<Rc<dyn Stage>>>,
    going_away: Cell<bool>,
    over: Cell<bool>,
}

/// A configuration in force.
pub struct Site {
    /// Whose share it is.
    pub worker: usize,
    pub config: Arc<Config>,
    pub table: Arc<Table>,
    /// In the table's order.
    pub routes: Vec<SiteRoute>,
    /// Where no route matches: only the global plugins' observers matter.
    pub unrouted: SiteUnrouted,
    pub upstreams: Rc<Upstreams>,
    pub metrics: Metrics,
    pub tail: Arc<Tail>,
    /// Absent where no requests are recorded.
    pub tracer: Option<Arc<Tracer>>,
}

impl Site {
    fn pipelines(&self) -> impl Iterator<Item = &Pipeline> {
        std::iter::once(&self.unrouted.pipeline).chain(self.routes.iter().map(|route| &route.pipeline))
    }
}

/// A route with everything that its exchanges need.
pub struct SiteRoute {
    pub model: Arc<Route>,
    pub pipeline: Pipeline,
    pub target: Target,
    pub bounds: Rc<Bounds>,
    /// The names of the upstreams that requests may go to, for plugins.
    pub(super) upstream: Option<Rc<str>>,
    /// Found when the first exchange has ended: of many routes some never have one.
    pub(super) metrics: OnceCell<Arc<RouteMetrics>>,
}

impl SiteRoute {
    pub fn new(model: Arc<Route>, pipeline: Pipeline, target: Target, bounds: Rc<Bounds>) -> Self {
        let upstream = if pipeline.is_empty() { None } else { upstream_names(&model.action) };
        Self { model, pipeline, target, bounds, upstream, metrics: OnceCell::new() }
    }
}

fn upstream_names(action: &Action) -> Option<Rc<str>> {
    match action {
        Action::Upstream(upstream) => Some((&*upstream.name).into()),
        Action::Split(parts) => {
            let mut names: Vec<&str> = parts.iter().map(|(upstream, _)| &*upstream.name).collect();
            names.sort_unstable();
            Some(names.join(",").into())
        }
        Action::Redirect(_) | Action::Respond(_) => None,
    }
}

/// Where a route's requests go after its plugins.
pub enum Target {
    Upstream(Rc<Upstream>),
    Split(Split),
    Handler(Rc<dyn Handler>),
}

/// Upstreams that share a route's requests by weight; at least one.
pub struct Split {
    /// With the sum of the weights up to each.
    parts: Vec<(Rc<Upstream>, u32)>,
    last: Rc<Upstream>,
}

impl Split {
    /// `None` where there are no upstreams.
    pub fn new(weighted: impl IntoIterator<Item = (Rc<Upstream>, u32)>) -> Option<Self> {
        let mut sum = 0_u32;
        let part = |(upstream, weight)| {
            sum = sum.saturating_add(weight);
            (upstream, sum)
        };
        let parts: Vec<_> = weighted.into_iter().map(part).collect();
        let last = parts.last()?.0.clone();
        Some(Self { parts, last })
    }

    fn next(&self) -> &Rc<Upstream> {
        let sum = self.parts.last().map_or(0, |(_, sum)| *sum);
        let drawn = fastrand::u32(..sum.max(1));
        self.parts.iter().find(|(_, sum)| drawn < *sum).map_or(&self.last, |(upstream, _)| upstream)
    }
}

/// Where one request goes.
pub(super) enum Next<'a> {
    Upstream(&'a Rc<Upstream>),
    Handler(&'a dyn Handler),
}

impl Site {
    /// Where a request goes by its route, or by the choice of a plugin.
    pub(super) fn next<'a>(&'a self, route: &'a SiteRoute, exchange: &Exchange) -> Next<'a> {
        // A plugin can choose only what there is, and an exchange keeps its site.
        if let Some(upstream) = exchange.selected_upstream().and_then(|name| self.upstreams.get(name)) {
            return Next::Upstream(upstream);
        }
        match &route.target {
            Target::Upstream(upstream) => Next::Upstream(upstream),
            Target::Split(split) => Next::Upstream(split.next()),
            Target::Handler(handler) => Next::Handler(&**handler),
        }
    }
}

/// What exchanges without a route need.
pub struct SiteUnrouted {
    pub name: Arc<str>,
    pub pipeline: Pipeline,
    pub bounds: Rc<Bounds>,
    pub metrics: Arc<RouteMetrics>,
}

impl Worker {
    pub fn new(timers: Timers, site: Rc<Site>) -> Self {
        let ticking = RefCell::new(start(&site));
        Self {
            ticking,
            timers,
            request_ids: RequestIds::new(),
            observing: Tasks::default(),
            background_requests: Tasks::default(),
            site: RefCell::new(site),
            going_away: Cell::new(false),
            over: Cell::new(false),
        }
    }

    /// The process will end: from now on each HTTP/1.1 response is the last one on its connection, and says so.
    pub fn go_away(&self) {
        self.going_away.set(true);
    }

    pub fn is_going_away(&self) -> bool {
        self.going_away.get()
    }

    /// A drain's deadline has passed: what is not finished now never will be.
    pub fn end(&self) {
        self.over.set(true);
    }

    /// Whether exchanges that end early do so because of the gateway.
    pub(super) fn is_over(&self) -> bool {
        self.over.get()
    }

    pub fn site(&self) -> Rc<Site> {
        self.site.borrow().clone()
    }

    /// From the next request on. Requests in progress end with the site that they began with.
    pub fn install(&self, site: Rc<Site>) {
        // The new one first: what both use is used all the time.
        self.ticking.replace(start(&site));
        let old = self.site.replace(site);
        old.pipelines().for_each(Pipeline::stop);
    }

    /// About once a second.
    pub fn tick(&self) {
        self.ticking.borrow().iter().for_each(|stage| stage.tick());
    }

    /// No further request comes.
    pub fn stop(&self) {
        self.ticking.take();
        self.site().pipelines().for_each(Pipeline::stop);
    }
}

fn start(site: &Site) -> Vec<Rc<dyn Stage>> {
    site.pipelines().for_each(Pipeline::start);
    site.pipelines().flat_map(Pipeline::ticking).cloned().collect()
}
