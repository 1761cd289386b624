-- Several steps, all or none of them, in one go, at the time `now` (`clock.lua`). For each key: how it counts (0 steadily, 1 in a
-- sliding window), limit, period in microseconds, burst, cost. Returns the time, 1 if all were taken, and what was there of each
-- key at that time: units and a rest (in units times microseconds of the period), or the units of the present window and the one
-- before. The gateway makes the verdicts of that (`take.rs`), by the rules of the crate `gateway-rules`, which are the same here:
-- what fits, and what is remembered. All numbers are whole and below 2^53, so that a double holds them exactly.
local all, before, writes = true, {}, {}

-- a * b / d, as quotient and remainder, for a up to d, d below 2^45 and b below 2^49: seven bits of b at a time.
local function divide(a, b, d)
  local quotient, rest = 0, 0
  for place = 6, 0, -1 do
    local sum = rest * 128 + a * (math.floor(b / 128 ^ place) % 128)
    rest = math.fmod(sum, d)
    quotient = quotient * 128 + (sum - rest) / d
  end
  return quotient, rest
end

-- The level is units times the period, and a rest; it drains by the limit in each microsecond.
local function steadily(key, limit, period, burst, cost)
  local units, rest = 0, 0
  local known = redis.call('GET', key)
  local u, r, p, at, till = (known or ''):match('^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  if till and now < tonumber(till) then
    units, rest, p = tonumber(u), tonumber(r), tonumber(p)
    if p ~= period then rest = divide(rest, period, p) end
    local passed = math.max(0, now - tonumber(at))
    local part = math.fmod(passed, period)
    local gone, less = divide(part, limit, period)
    gone = gone + (passed - part) / period * limit
    if gone > units or (gone == units and less >= rest) then
      units, rest = 0, 0
    else
      units, rest = units - gone, rest - less
      if rest < 0 then units, rest = units - 1, rest + period end
    end
  end
  local after = units + cost
  local fits = after < burst or (after == burst and rest == 0)
  -- Until it is empty: (after * period + rest) / limit, rounded up.
  local each = math.fmod(period, limit)
  local lasts, left = divide(each, after, limit)
  lasts = lasts + after * ((period - each) / limit) + math.ceil((left + rest) / limit)
  local value = string.format('%.0f %.0f %.0f %.0f %.0f', after, rest, period, now, now + lasts)
  return fits, { units, rest }, value, lasts
end

-- Of the window before counts what lies less than a period back.
local function sliding(key, limit, period, cost)
  local passed = math.fmod(now, period)
  local index, rest = (now - passed) / period, period - passed
  local current, previous = 0, 0
  local known = redis.call('GET', key)
  local i, c, b, p = (known or ''):match('^(%d+) (%d+) (%d+) (%d+)$')
  if p and tonumber(p) == period then
    if tonumber(i) == index then
      current, previous = tonumber(c), tonumber(b)
    elseif tonumber(i) == index - 1 then
      previous = tonumber(c)
    end
  end
  local still, part = divide(rest, previous, period)
  if part > 0 then still = still + 1 end
  local fits = still + current + cost <= limit
  local value = string.format('%.0f %.0f %.0f %.0f', index, current + cost, previous, period)
  return fits, { current, previous }, value, rest + period
end

for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5
  local way, limit, period = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local burst, cost = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local fits, value, lasts = false, nil, 0
  before[i] = { 0, 0 }
  if limit > 0 and (way == 1 or burst > 0) then
    if way == 0 then
      fits, before[i], value, lasts = steadily(key, limit, period, burst, cost)
    else
      fits, before[i], value, lasts = sliding(key, limit, period, cost)
    end
  end
  all = all and fits
  -- A time to live is in milliseconds. Redis takes none that is centuries long.
  if cost > 0 then writes[i] = { value, math.min(math.ceil(lasts / 1000) + 1, 2 ^ 42) } end
end
if all then
  for i, key in ipairs(KEYS) do
    local write = writes[i]
    if write then redis.call('SET', key, write[1], 'PX', write[2]) end
  end
end
return { now, all and 1 or 0, before }
