-- Stands in for the clock of the server: the time is what the test says last, and also decides when what is kept has expired.
local now = tonumber(ARGV[#ARGV])
local server = redis
local redis = {}

function redis.call(command, key, value, px, ttl)
  if command == 'SET' then
    assert(px == 'PX' and ttl == math.floor(ttl) and ttl > 0)
    -- The server counts whole milliseconds from the one that it is.
    local till = math.floor(now / 1000) * 1000 + ttl * 1000
    return server.call('SET', key, string.format('%.0f ', till) .. value)
  end
  local known = server.call(command, key)
  if not known then return false end
  local till, rest = known:match('^(%d+) (.*)$')
  return now < tonumber(till) and rest
end

