//! The functions that can wait, as instances on fibers have them: they take the place of those that answer at once. The guest sees no
//! difference. A fiber is suspended while its function waits, and the worker serves other requests.
//!
//! Each function here shadows one of the same name that direct calls have, with the same types. A function that waits and is
//! missing here is not noticed when the gateway is built: on fibers it then answers as in direct calls, which is `denied`, or from
//! the memory of the process although the state is in Redis. The future of a function can be dropped at any `await`, because the
//! client may disconnect. So what has to be undone then has a guard before the `await`.

use std::future::Future;

use send_wrapper::SendWrapper;
use wasmtime::{
    Result, StoreContextMut,
    component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower, Resource},
};

use super::store::Acquire;
use crate::{
    bindings::{ConnectionHandle, PACKAGE, PendingCallHandle, Request, VERSION, store::Swap},
    instance::state::State,
};

/// Replaces what can wait in a linker that has all functions.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    linker.allow_shadowing(true);

    let mut store = linker.instance(&name("store"))?;
    wait(&mut store, "get", async |state, (bucket, key)| state.store_get(bucket, key).await)?;
    wait(&mut store, "set", async |state, (bucket, key, value, ttl)| state.store_set(bucket, key, value, ttl).await)?;
    wait(&mut store, "delete", async |state, (bucket, key)| state.store_delete(bucket, key).await)?;
    wait(&mut store, "increment", async |state, (bucket, key, by, ttl)| {
        state.store_increment(bucket, key, by, ttl).await
    })?;
    wait(&mut store, "compare-and-swap", async |state, (bucket, key, expected, value, ttl_ms)| {
        state.store_compare_and_swap(bucket, Swap { key, expected, value, ttl_ms }).await
    })?;
    wait(&mut store, "set-ttl", async |state, (bucket, key, ttl)| state.store_set_ttl(bucket, key, ttl).await)?;
    wait(&mut store, "acquire", async |state, (bucket, key, limit, ttl_ms, scope)| {
        state.store_acquire(Acquire { bucket, key, limit, ttl_ms, scope }).await
    })?;
    wait(&mut store, "renew", async |state, (bucket, key, lease, ttl_ms)| {
        state.store_renew(bucket, key, lease, ttl_ms).await
    })?;
    wait(&mut store, "release", async |state, (bucket, key, lease)| state.store_release(bucket, key, lease).await)?;
    wait(&mut store, "batch", async |state, (bucket, operations)| state.store_batch(bucket, operations).await)?;
    wait(&mut store, "take", async |state, (bucket, key, quota, cost)| {
        state.store_take(bucket, key, quota, cost).await
    })?;
    wait(&mut store, "take-all", async |state, (bucket, group, steps, scope)| {
        state.store_take_all(bucket, group, steps, scope).await
    })?;

    let mut client = linker.instance(&name("http-client"))?;
    wait(&mut client, "send", async |state, (call,)| state.call_upstream(call).await)?;
    wait(&mut client, "[method]pending-call.wait", async |state, (call,): (Resource<PendingCallHandle>,)| {
        state.wait_for_call(call).await
    })?;

    let mut tcp = linker.instance(&name("tcp"))?;
    wait(&mut tcp, "send", async |state, (message,)| state.tcp_send(message).await)?;
    wait(
        &mut tcp,
        "[method]connection.receive",
        async |state, (connection, min_bytes): (Resource<ConnectionHandle>, u32)| {
            state.tcp_receive(connection, min_bytes).await
        },
    )?;

    wait(&mut linker.instance(&name("documents"))?, "get", async |state, (source, known, force_refresh)| {
        state.document(source, known, force_refresh).await
    })?;

    wait(
        &mut linker.instance(&name("cache"))?,
        "find",
        async |state, (_, bucket, key, shared): (Resource<Request>, _, _, _)| {
            state.find_stored(bucket, key, shared).await
        },
    )?;

    wait(&mut linker.instance(&name("crypto"))?, "verify-password", async |state, (hash, password, remember_ms)| {
        state.verify_password_in_time(hash, password, remember_ms).await
    })?;

    linker.allow_shadowing(false);
    Ok(())
}

fn name(interface: &str) -> String {
    format!("{PACKAGE}{interface}@{VERSION}")
}

/// Links a function that may wait. A store never leaves its worker, so neither does what its functions wait for.
fn wait<P, R>(
    interface: &mut LinkerInstance<'_, State>,
    function: &str,
    make: impl for<'a> AsyncFn(&'a mut State, P) -> Result<R> + Copy + Send + Sync + 'static,
) -> Result<()>
where
    P: ComponentNamedList + Lift + Send + Sync + 'static,
    R: Lower + Send + Sync + 'static,
    (R,): ComponentNamedList + Lower,
{
    interface.func_wrap_async(function, move |mut store: StoreContextMut<'_, State>, params: P| {
        let made = async move {
            let result = make(store.data_mut(), params).await;
            // The time that has passed is not the guest's.
            store.set_epoch_deadline(1);
            result.map(|result| (result,))
        };
        Box::new(SendWrapper::new(made)) as Box<dyn Future<Output = Result<(R,)>> + Send + '_>
    })
}
