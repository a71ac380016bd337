#!/usr/bin/env bash
# Train on EC2 from the head instance. Edit the lines marked EDIT. Not run on EC2 by us.
#   bash examples/ec2/launch.sh          examples/mpi/train.py
#   bash examples/ec2/launch.sh paper    the paper's experiment; needs DATA=train.csv and 20 workers.
#                                        What follows goes to reproduce.py: --natural --figure tail
set -euo pipefail
cd "$(dirname "$0")/../.."
source .venv/bin/activate                      # EDIT: the environment that all instances have
hosts=examples/ec2/hosts.openmpi               # EDIT: hosts.mpich with MPICH
interface=ens5                                 # EDIT: ip -brief address
workers=$(awk -F 'slots=|:' '/^[^#]/ { n += NF > 1 ? $2 : 1 } END { print n }' "$hosts")

if [ "${1:-}" = paper ]; then
  # reproduce.py is told the scheduler's address, which with_client.py finds in its environment
  dask-gradcode mpirun -n "$workers" --hostfile "$hosts" --interface "$interface" --timeout 300 \
    examples/ec2/with_client.py examples/tandon2017/reproduce.py \
    --data "${DATA:?set DATA to train.csv}" --out figures "${@:2}"
else
  dask-gradcode mpirun -n "$workers" --hostfile "$hosts" --interface "$interface" \
    --timeout 300 examples/mpi/train.py ${DATA:+--data "$DATA"}
fi
