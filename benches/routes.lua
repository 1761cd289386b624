-- For wrk: with an argument N, each request asks a random one of N routes.
local requests = {}

function init(args)
  math.randomseed(1)
  for route = 0, tonumber(args[1]) - 1 do
    requests[route + 1] = wrk.format("GET", string.format("/r%05d/item", route))
  end
end

function request()
  return requests[math.random(#requests)]
end
