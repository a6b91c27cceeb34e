-- What wrk sends: requests of one kind, prepared before the first is sent.
-- Arguments after `--`: kind, "json" or "form", a tag that makes created names unique, first id, last id.
local kind, encoding, tag, first_id, last_id
local PRICES = 300 -- from 5.0 on, in steps of 0.1
local prepared, turn = {}, 0

local function escape(text)
  return (text:gsub("[^%w]", function(c) return string.format("%%%02X", string.byte(c)) end))
end

local function with_body(method, path, body)
  if encoding == "form" then
    local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
    return wrk.format(method, path, headers, "customer=" .. escape(body))
  end
  return wrk.format(method, path, { ["Content-Type"] = "application/json" }, body)
end

local function get_one()
  return wrk.format("GET", "/customer/" .. math.random(first_id, last_id))
end

local function patch()
  local body = string.format('{"PhoneNumber":"(555) %03d-%04d"}', math.random(999), math.random(9999))
  return with_body("PATCH", "/customer/" .. math.random(first_id, last_id), body)
end

function init(args)
  kind, encoding, tag = args[1], args[2], args[3]
  first_id, last_id = tonumber(args[4]), tonumber(args[5])
  math.randomseed(tonumber(string.match(tag, "%d+$")))
  if kind == "one_customer" then
    for i = 1, 2000 do prepared[i] = get_one() end
  elseif kind == "prices" then
    for i = 1, 2000 do
      prepared[i] = wrk.format("GET", string.format("/taxidata/%.1f", 5 + math.random(0, PRICES - 1) / 10))
    end
  elseif kind == "patch" then
    for i = 1, 2000 do prepared[i] = patch() end
  elseif kind == "mix" then
    for i = 1, 2000 do
      if i % 10 == 0 then prepared[i] = patch() else prepared[i] = get_one() end
    end
  elseif kind ~= "create" then
    prepared[1] = wrk.format("GET", kind)
  end
end

function request()
  turn = turn + 1
  if kind == "create" then
    local body = string.format(
      '{"CustomerName":"bench %s %d","PhoneNumber":"(555) 555-0100","Delivery":{"PostalCode":"90410"}}',
      tag, turn)
    return with_body("PUT", "/customer", body)
  end
  return prepared[(turn - 1) % #prepared + 1]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"seconds":%.6f,"bytes":%d,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,',
    summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3))
  io.write(string.format(
    '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
    e.connect, e.read, e.write, e.status, e.timeout))
end
