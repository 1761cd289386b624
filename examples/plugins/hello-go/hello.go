// Lets in who has a key, and tells the upstream who it is.
package main

import gateway "gateway-plugin"

type Config struct {
	Keys map[string]string `json:"keys" description:"The clients' names by their keys, as they send them in x-api-key."`
}

type Hello struct{ names map[string]string }

func init() {
	about := gateway.About{
		Name:        "hello",
		Version:     "0.1.0",
		Description: "Lets in who has a key, and tells the upstream who it is",
	}
	gateway.Register(about, func(config Config) (any, error) {
		if len(config.Keys) == 0 {
			return nil, gateway.ConfigProblem{Pointer: "/keys", Message: "needs at least one key"}
		}
		return &Hello{config.Keys}, nil
	})
}

func (h *Hello) OnRequest(request gateway.Request) (gateway.Decision, error) {
	key, _ := request.Header("x-api-key")
	name, known := h.names[key]
	if !known {
		return gateway.Problem(401, "unknown API key"), nil
	}
	return nil, request.SetHeader("x-client", name)
}

func main() {}
