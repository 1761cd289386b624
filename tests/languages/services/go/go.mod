module services

go 1.24

require gateway-plugin v0.1.0

replace gateway-plugin => ../../../../plugin-sdk/go
