//! Who did what with the role `full`: a line in the log, and the last of them to look at.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use http::{Method, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::unix_time::seconds;

const KEPT: usize = 256;

/// A request that needs the role `full`, also one that was rejected.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Change {
    /// Seconds since 1970.
    at: f64,
    operator: String,
    method: String,
    /// Path and query.
    target: String,
    /// What was answered.
    status: u16,
}

#[derive(Default)]
pub(super) struct Audit(Mutex<VecDeque<Change>>);

impl Audit {
    pub(super) fn note(&self, operator: &str, method: &Method, uri: &Uri, status: StatusCode) {
        let target: String = uri.path_and_query().map_or("", |target| target.as_str()).chars().take(512).collect();
        let status = status.as_u16();
        tracing::info!(target: "gateway::audit", operator, method = method.as_str(), target_path = target, status, "admin API request");
        let at = seconds(SystemTime::now());
        let change = Change { at, operator: operator.to_owned(), method: method.as_str().to_owned(), target, status };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(change);
    }

    pub(super) fn all(&self) -> Vec<Change> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }
}
