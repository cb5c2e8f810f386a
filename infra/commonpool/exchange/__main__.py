"""The process that stands in the way of calls: `python -m commonpool.exchange --listen … --kubeconfig … --journal … --key …`."""

from commonpool.exchange.server import main

if __name__ == "__main__":
    main()
