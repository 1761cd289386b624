-- The purges: how many there were, and the last of them with the server's time. An order adds one; without one they are
-- only read. ARGV: how many the gateway knows, how many are remembered, the order or nothing.
local seen, most = tonumber(ARGV[1]), tonumber(ARGV[2])
if ARGV[3] ~= '' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('RPUSH', KEYS[2], string.format('%.0f', now) .. ' ' .. ARGV[3])
  redis.call('LTRIM', KEYS[2], -most, -1)
  redis.call('INCR', KEYS[1])
end
local count = tonumber(redis.call('GET', KEYS[1]) or 0)
local latest = {}
if count > seen then
  latest = redis.call('LRANGE', KEYS[2], -math.min(count - seen, most), -1)
elseif count < seen then
  latest = redis.call('LRANGE', KEYS[2], 0, -1)
end
return { count, latest }
