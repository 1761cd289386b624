-- Gives a key a value, or none, if it has the expected one, or none. ARGV: 1 and the expected value, or 0 and nothing; 1 and the new
-- value, or 0 and nothing; its time to live in milliseconds, or nothing. Returns 1, or 0 and the value that is there.
local current = redis.call('GET', KEYS[1])
local expected = ARGV[1] == '1' and ARGV[2]
if current ~= expected then return { 0, current } end
if ARGV[3] == '0' then
  redis.call('DEL', KEYS[1])
elseif ARGV[5] == '' then
  redis.call('SET', KEYS[1], ARGV[4])
else
  redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
end
return { 1, false }
