module commonpool.dev/tests/probe

go 1.26.0
