-- The server's clock in microseconds, so that gateways need not agree on the time.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
