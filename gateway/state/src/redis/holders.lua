-- How many hold a key at the time `now` (`clock.lua`). Nothing is written, so it can be asked often.
return redis.call('ZCOUNT', KEYS[1], '(' .. string.format('%.0f', now), '+inf')
