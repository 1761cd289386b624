-- Adds a holder of a key, at the time `now` (`clock.lua`), if there are fewer than so many. A holder is a member of a sorted set
-- whose score is the time at which its lease ends, in microseconds. ARGV: the lease, how many may hold the key, the time to live in
-- milliseconds. Returns whether it is held and how many holders there are. The rules are those of `gateway-rules` (`lease.rs`).
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local holders = redis.call('ZCARD', KEYS[1])
if holders >= tonumber(ARGV[2]) then return { 0, holders } end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[3]) * 1000), ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return { 1, holders + 1 }
