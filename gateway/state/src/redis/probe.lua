-- Whether the server takes writes: one that is read-only, short of memory or of replicas, or that refuses the user, fails here.
-- Nothing stays behind.
redis.call('SET', KEYS[1], '1', 'PX', 1000)
redis.call('DEL', KEYS[1])
