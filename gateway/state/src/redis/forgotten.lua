-- Responses that were made invalid: how many there were, and the last of them. An order adds one; without one they are only read.
-- ARGV: how many the gateway knows, -1 if it knows of none, how many are remembered, the order or nothing.
local seen, most = tonumber(ARGV[1]), tonumber(ARGV[2])
if ARGV[3] ~= '' then
  redis.call('RPUSH', KEYS[2], ARGV[3])
  redis.call('LTRIM', KEYS[2], -most, -1)
  redis.call('INCR', KEYS[1])
end
local count = tonumber(redis.call('GET', KEYS[1]) or 0)
local latest = {}
if seen >= 0 and count > seen then
  latest = redis.call('LRANGE', KEYS[2], -math.min(count - seen, most), -1)
end
return { count, latest }
