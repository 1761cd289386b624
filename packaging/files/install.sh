# The user and the unit, after installation. $old is empty unless this is an upgrade.
if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers gateway.conf
elif ! getent passwd gateway >/dev/null; then
    useradd --system --comment "API gateway" --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin gateway
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    pid=$(systemctl show --property MainPID --value gateway.service || true)
    if [ -n "$old" ] && [ "${pid:-0}" -gt 0 ]; then
        # The new binary takes over the sockets: no connection is refused.
        kill -USR2 "$pid" || true
    fi
fi
