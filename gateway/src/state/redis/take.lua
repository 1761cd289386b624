-- Several steps, all or none of them, in one go. For each key: how it counts (0 steadily, 1 in a sliding window), limit,
-- period in microseconds, burst, cost. For each key it answers: allowed, remaining, reset and retry in microseconds (-1: never).
-- The clock is the server's, so that gateways need not agree on the time.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local all, answers, writes = true, {}, {}

local function steadily(key, limit, period, burst, cost)
  local interval = period / limit
  local due = tonumber(redis.call('GET', key) or now) or now
  if due < now then due = now end
  local full = interval * burst
  local level = due - now
  local rise = interval * cost
  -- Half a microsecond is rounding.
  local fits = level + rise <= full + 0.5
  local function told(level, allowed)
    local retry = 0
    if not allowed then
      if cost > burst then retry = -1 else retry = math.ceil(level + rise - full) end
    end
    local remaining = math.floor((full - level) / interval + 0.000001)
    if remaining < 0 then remaining = 0 end
    return { allowed and 1 or 0, remaining, math.ceil(level), retry }
  end
  local value = string.format('%.17g', due + rise)
  return fits, told, level, level + rise, value, math.ceil((level + rise) / 1000) + 1
end

local function sliding(key, limit, period, cost)
  local index, passed = math.floor(now / period), now % period
  local rest = period - passed
  local current, previous = 0, 0
  local known = redis.call('GET', key)
  if known then
    local i, c, p = known:match('^(%d+) (%d+) (%d+)$')
    i, c, p = tonumber(i), tonumber(c), tonumber(p)
    if i == index then current, previous = c, p elseif i == index - 1 then previous = c end
  end
  local function used(current) return previous * rest / period + current end
  local fits = used(current) + cost <= limit + 0.000001
  local function told(current, allowed)
    local retry = 0
    if not allowed then
      local room = limit - cost
      if room < 0 then
        retry = -1
      elseif current <= room then
        retry = math.ceil(math.max(0, rest - (room - current) * period / math.max(previous, 1)))
      else
        retry = math.ceil(rest + math.max(0, period - room * period / math.max(current, 1)))
      end
    end
    local reset = 0
    if current > 0 then reset = rest + period elseif previous > 0 then reset = rest end
    return { allowed and 1 or 0, math.max(0, math.floor(limit - used(current) + 0.000001)), reset, retry }
  end
  local value = string.format('%d %d %d', index, current + cost, previous)
  return fits, told, current, current + cost, value, math.ceil((rest + period) / 1000) + 1
end

local steps = {}
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5
  local way, limit, period = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local burst, cost = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local step
  if limit == 0 or (way == 0 and burst == 0) then
    step = { fits = false, never = true }
  else
    local fits, told, before, after, value, lasts
    if way == 0 then
      fits, told, before, after, value, lasts = steadily(key, limit, period, burst, cost)
    else
      fits, told, before, after, value, lasts = sliding(key, limit, period, cost)
    end
    step = { fits = fits, told = told, before = before, after = after, value = value, lasts = lasts, cost = cost }
  end
  all = all and step.fits
  steps[i] = step
end
for i, step in ipairs(steps) do
  if step.never then
    answers[i] = { 0, 0, -1, -1 }
  elseif all then
    if step.cost > 0 then redis.call('SET', KEYS[i], step.value, 'PX', step.lasts) end
    answers[i] = step.told(step.after, true)
  else
    answers[i] = step.told(step.before, step.fits)
  end
end
return answers
