-- Gives leases their time to live anew, at the time `now` (`clock.lua`). KEYS: that of each lease. ARGV: 1 if leases that have ended
-- are held again, since their exchanges are alive; then for each key the lease and the time to live in milliseconds. Returns how
-- many of them were still held. The rules are those of `gateway-rules` (`lease.rs`).
local held = 0
for i, key in ipairs(KEYS) do
  local lease, ttl = ARGV[i * 2], ARGV[i * 2 + 1]
  -- A key that is no set of leases is left alone: the others are renewed all the same.
  local ends = redis.pcall('ZSCORE', key, lease)
  local is_other = type(ends) == 'table'
  local is_held = not is_other and ends and tonumber(ends) > now
  if is_held then held = held + 1 end
  if not is_other and (is_held or ARGV[1] == '1') then
    redis.call('ZADD', key, string.format('%.0f', now + tonumber(ttl) * 1000), lease)
    if redis.call('PTTL', key) < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
  end
end
return held
