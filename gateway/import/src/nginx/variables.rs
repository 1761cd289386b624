//! Variables of nginx as placeholders of `transform`.

/// A text with variables as a template, or the first variable that has no counterpart.
pub(super) fn template(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&escaped(&rest[..at]));
        let (name, after) = variable(&rest[at + 1..]);
        let placeholder = placeholder(name).ok_or_else(|| format!("${name}"))?;
        out.push_str(&placeholder);
        rest = after;
    }
    out.push_str(&escaped(rest));
    Ok(out)
}

fn escaped(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// The name at the beginning, after the dollar sign, and what follows it.
fn variable(text: &str) -> (&str, &str) {
    if let Some((name, after)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        return (name, after);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

fn placeholder(name: &str) -> Option<String> {
    let known = match name {
        "remote_addr" | "binary_remote_addr" => "{client.address}",
        "host" | "http_host" => "{authority}",
        "scheme" => "{scheme}",
        "request_method" => "{method}",
        "uri" | "document_uri" => "{path}",
        "args" | "query_string" => "{query}",
        "request_uri" => "{original-target}",
        "request_id" => "{request.id}",
        "server_protocol" => "{protocol}",
        "status" => "{response.status}",
        _ => {
            let named = |prefix: &str, kind: &str| {
                let rest = name.strip_prefix(prefix).filter(|rest| !rest.is_empty())?;
                Some(format!("{{{kind}.{}}}", if kind == "query" { rest.to_owned() } else { rest.replace('_', "-") }))
            };
            return named("http_", "header").or_else(|| named("arg_", "query"));
        }
    };
    Some(known.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_become_placeholders() {
        assert_eq!(
            template("a-$remote_addr:${http_x_tenant}{1}").unwrap(),
            "a-{client.address}:{header.x-tenant}{{1}}"
        );
        assert_eq!(template("$arg_user_id"), Ok("{query.user_id}".to_owned()));
        assert_eq!(template("$geoip_country"), Err("$geoip_country".to_owned()));
        assert_eq!(template("$"), Err("$".to_owned()));
    }
}
