#!/bin/sh
# A smoke test of the shop: `bin/mizzen up -f examples/shop -- examples/smoke.sh`.
set -eu
answer=$(curl -fsS "$MIZZEN_GATEWAY/")
echo "$answer"
case $answer in
*"stock v1"*) ;;
*) echo "the chain does not reach the stock" >&2; exit 1 ;;
esac
