//! `gateway plugin approve`.

use gateway_config::lock::{Entry, written};

use super::{ApproveArgs, Failed, print};
use crate::{
    app::{self, Approval, Source},
    files::replace,
};

pub(super) fn approve(args: &ApproveArgs) -> Result<(), Failed> {
    let Approval { file, before, now } = app::to_approve(&Source::File(args.config.config.clone()))?;
    if let Some(unknown) = args.names.iter().find(|name| !now.contains_key(*name)) {
        let known: Vec<_> = now.keys().map(String::as_str).collect();
        return Err(Failed::Misunderstood(format!(
            "no plugin `{unknown}` is to be approved; there are: {}",
            if known.is_empty() { "none but standard ones".to_owned() } else { known.join(", ") }
        )));
    }
    let is_meant = |name: &String| args.names.is_empty() || args.names.contains(name);
    let mut after = before.clone();
    after.retain(|name, _| !is_meant(name) || now.contains_key(name));
    after.extend(now.into_iter().filter(|(name, _)| is_meant(name)));
    for (name, entry) in &after {
        if let Some(told) = changes(name, before.get(name), entry) {
            print(told)?;
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        print(format_args!("{name}: is no longer there"))?;
    }
    if after == before && file.exists() {
        return print(format_args!("{} says all of it already", file.display()));
    }
    if args.dry_run {
        return Err(Failed::Invalid(format!("{} does not say that yet", file.display())));
    }
    replace(&file, written(&after).as_bytes())
        .map_err(|error| Failed::Stopped(format!("{}: {error}", file.display())))?;
    print(format_args!("{} is written", file.display()))
}

/// What is another one than before, in lines.
fn changes(name: &str, before: Option<&Entry>, now: &Entry) -> Option<String> {
    let Some(before) = before else {
        let more = now.beyond(&Entry::default());
        let lines: String = more.iter().map(|more| format!("\n  {more}")).collect();
        return Some(format!("{name}: is new: {}, sha256 {}{lines}", now.component, now.sha256));
    };
    if before == now {
        return None;
    }
    let mut lines = format!("{name}:");
    for (what, from, to) in [("is", &before.component, &now.component), ("has the sha256", &before.sha256, &now.sha256)]
    {
        if from != to {
            lines.push_str(&format!("\n  {what} {to}, was {from}"));
        }
    }
    lines.extend(now.beyond(before).iter().map(|more| format!("\n  now {more}")));
    lines.extend(before.beyond(now).iter().map(|less| format!("\n  no longer {less}")));
    Some(lines)
}
