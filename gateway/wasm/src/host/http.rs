//! The request and the response. Their handles are only lent for one call and there is only one exchange in a
//! store, so a handle's number says nothing and is not looked at.

use std::{borrow::Cow, time::UNIX_EPOCH};

use gateway_core::model::{Data, DataAccess};
use gateway_pipeline as pipeline;
use gateway_pipeline::ResponseHead;
use gateway_rules::{
    data_grants::{HOST, METHOD, PATH, STATUS},
    fields::{request_lines, request_values},
};
use http::{HeaderMap, HeaderValue};
use wasmtime::{Result, component::Resource};

use crate::{
    bindings::{
        EditError, Fields, Request, Response,
        http::{Host, HostRequest, HostResponse},
    },
    fields,
    instance::{edits::edit_error, selection::protocol, state::State},
};

/// The header that the trace is continued from, where it is not recorded here (W3C Trace Context §3.2).
const TRACE_PARENT: &str = "traceparent";

type Edit = Result<std::result::Result<(), EditError>>;

impl Host for State {}

/// What is not granted is not there to be read, and refused to be written.
impl State {
    fn may_read(&self, name: &str) -> bool {
        self.may(Data::RequestHeaders, DataAccess::Read, name)
    }

    fn may_write(&self, name: &str) -> bool {
        self.may(Data::RequestHeaders, DataAccess::Write, name)
    }

    fn may_read_of_response(&self, name: &str) -> bool {
        self.may(Data::ResponseHeaders, DataAccess::Read, name)
    }

    fn may_write_of_response(&self, name: &str) -> bool {
        self.may(Data::ResponseHeaders, DataAccess::Write, name)
    }
}

impl HostRequest for State {
    fn id(&mut self, _: Resource<Request>) -> Result<String> {
        Ok(text(&self.exchange()?.id))
    }

    fn method(&mut self, _: Resource<Request>) -> Result<String> {
        Ok(self.exchange()?.request.method.as_str().to_owned())
    }

    fn scheme(&mut self, _: Resource<Request>) -> Result<String> {
        Ok(self.exchange()?.request.scheme.to_owned())
    }

    fn authority(&mut self, _: Resource<Request>) -> Result<String> {
        if !self.may_read(HOST) {
            return Ok(String::new());
        }
        Ok(text(&self.exchange()?.request.authority))
    }

    fn path(&mut self, _: Resource<Request>) -> Result<String> {
        if !self.may_read(PATH) {
            return Ok(String::new());
        }
        Ok(self.exchange()?.request.target.path().to_owned())
    }

    fn query(&mut self, _: Resource<Request>) -> Result<Option<String>> {
        if !self.may_read(PATH) {
            return Ok(None);
        }
        Ok(self.exchange()?.request.target.query().map(str::to_owned))
    }

    fn original_target(&mut self, _: Resource<Request>) -> Result<String> {
        if !self.may_read(PATH) {
            return Ok(String::new());
        }
        Ok(self.exchange()?.original_target().as_str().to_owned())
    }

    fn protocol(&mut self, _: Resource<Request>) -> Result<String> {
        Ok(protocol(self.exchange()?.protocol).to_owned())
    }

    fn client_address(&mut self, _: Resource<Request>) -> Result<String> {
        Ok(self.exchange()?.client.to_string())
    }

    fn received_at(&mut self, _: Resource<Request>) -> Result<u64> {
        let since = self.exchange()?.received().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(since.as_millis() as u64)
    }

    fn header(&mut self, _: Resource<Request>, name: String) -> Result<Option<Vec<u8>>> {
        if !self.may_read(&name) {
            return Ok(None);
        }
        let exchange = self.exchange()?;
        exchange.note_read(&name);
        let request = &exchange.request;
        Ok(request_values(&request.headers, &request.authority, &name).next().map(|value| value.as_bytes().to_vec()))
    }

    fn header_values(&mut self, _: Resource<Request>, name: String) -> Result<Vec<Vec<u8>>> {
        if !self.may_read(&name) {
            return Ok(Vec::new());
        }
        let exchange = self.exchange()?;
        exchange.note_read(&name);
        let request = &exchange.request;
        let values = request_values(&request.headers, &request.authority, &name);
        Ok(values.map(|value| value.as_bytes().to_vec()).collect())
    }

    fn headers(&mut self, _: Resource<Request>) -> Result<Fields> {
        let (exchange, identity) = self.exchange_for()?;
        let request = &exchange.request;
        let mut lines = Vec::with_capacity(request.headers.len() + 1);
        let all = request_lines(&request.headers, &request.authority);
        lines.extend(all.filter(|(name, _)| identity.may_list(Data::RequestHeaders, name)).map(fields::owned));
        Ok(lines)
    }

    fn set_method(&mut self, _: Resource<Request>, method: String) -> Edit {
        if !self.may_write(METHOD) {
            return refused();
        }
        edit(self.exchange()?.set_method(&method))
    }

    fn set_path_with_query(&mut self, _: Resource<Request>, value: String) -> Edit {
        if !self.may_write(PATH) {
            return refused();
        }
        edit(self.exchange()?.set_target(&value))
    }

    fn set_header(&mut self, _: Resource<Request>, name: String, value: Vec<u8>) -> Edit {
        if !self.may_write(&name) {
            return refused();
        }
        edit(self.exchange()?.set_request_header(&name, &value))
    }

    fn append_header(&mut self, _: Resource<Request>, name: String, value: Vec<u8>) -> Edit {
        if !self.may_write(&name) {
            return refused();
        }
        edit(self.exchange()?.append_request_header(&name, &value))
    }

    fn remove_header(&mut self, _: Resource<Request>, name: String) -> Edit {
        if !self.may_write(&name) {
            return refused();
        }
        edit(self.exchange()?.remove_request_header(&name))
    }

    fn route(&mut self, _: Resource<Request>) -> Result<String> {
        Ok((*self.exchange()?.route).to_owned())
    }

    fn path_parameter(&mut self, _: Resource<Request>, name: String) -> Result<Option<String>> {
        if !self.may_read(PATH) {
            return Ok(None);
        }
        Ok(self.exchange()?.parameter(&name).map(Cow::into_owned))
    }

    fn attribute(&mut self, _: Resource<Request>, key: String) -> Result<Option<String>> {
        if !self.may(Data::Attributes, DataAccess::Read, &key) {
            return Ok(None);
        }
        Ok(self.exchange()?.attribute(&key).map(str::to_owned))
    }

    fn set_attribute(&mut self, _: Resource<Request>, key: String, value: String) -> Edit {
        if !self.may(Data::Attributes, DataAccess::Write, &key) {
            return refused();
        }
        edit(self.exchange()?.set_attribute(&key, &value))
    }

    fn remove_attribute(&mut self, _: Resource<Request>, key: String) -> Edit {
        if !self.may(Data::Attributes, DataAccess::Write, &key) {
            return refused();
        }
        edit(self.exchange()?.remove_attribute(&key))
    }

    fn trace_parent(&mut self, _: Resource<Request>) -> Result<Option<String>> {
        if !self.may_read(TRACE_PARENT) {
            return Ok(None);
        }
        Ok(self.exchange()?.trace_parent().map(|parent| text(&parent)))
    }

    fn drop(&mut self, _: Resource<Request>) -> Result<()> {
        self.handles = self.handles.saturating_sub(1);
        Ok(())
    }
}

impl State {
    /// The response's head. Its handle is lent only where there is one.
    fn response(&mut self) -> Result<&ResponseHead> {
        self.exchange()?.response.as_ref().ok_or_else(|| wasmtime::format_err!("there is no response"))
    }
}

impl HostResponse for State {
    fn status(&mut self, _: Resource<Response>) -> Result<u16> {
        Ok(self.response()?.status.as_u16())
    }

    fn set_status(&mut self, _: Resource<Response>, status: u16) -> Edit {
        if !self.may_write_of_response(STATUS) {
            return refused();
        }
        edit(self.exchange()?.set_status(status))
    }

    fn header(&mut self, _: Resource<Response>, name: String) -> Result<Option<Vec<u8>>> {
        if !self.may_read_of_response(&name) {
            return Ok(None);
        }
        Ok(self.response()?.headers.get(&name).map(|value| value.as_bytes().to_vec()))
    }

    fn header_values(&mut self, _: Resource<Response>, name: String) -> Result<Vec<Vec<u8>>> {
        if !self.may_read_of_response(&name) {
            return Ok(Vec::new());
        }
        Ok(values(&self.response()?.headers, &name))
    }

    fn headers(&mut self, _: Resource<Response>) -> Result<Fields> {
        let (exchange, identity) = self.exchange_for()?;
        let headers = exchange.response.as_ref().map(|response| &response.headers);
        Ok(headers.map(|headers| fields::readable(headers, identity, Data::ResponseHeaders)).unwrap_or_default())
    }

    fn set_header(&mut self, _: Resource<Response>, name: String, value: Vec<u8>) -> Edit {
        if !self.may_write_of_response(&name) {
            return refused();
        }
        edit(self.exchange()?.set_response_header(&name, &value))
    }

    fn append_header(&mut self, _: Resource<Response>, name: String, value: Vec<u8>) -> Edit {
        if !self.may_write_of_response(&name) {
            return refused();
        }
        edit(self.exchange()?.append_response_header(&name, &value))
    }

    fn remove_header(&mut self, _: Resource<Response>, name: String) -> Edit {
        if !self.may_write_of_response(&name) {
            return refused();
        }
        edit(self.exchange()?.remove_response_header(&name))
    }

    fn drop(&mut self, _: Resource<Response>) -> Result<()> {
        self.handles = self.handles.saturating_sub(1);
        Ok(())
    }
}

fn values(headers: &HeaderMap, name: &str) -> Vec<Vec<u8>> {
    headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
}

/// For values that are ASCII wherever they come from.
fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn refused() -> Edit {
    Ok(Err(EditError::Forbidden))
}

fn edit(result: std::result::Result<(), pipeline::EditError>) -> Edit {
    Ok(result.map_err(edit_error))
}
