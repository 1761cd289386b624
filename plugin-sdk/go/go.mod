module gateway-plugin

go 1.24
