# Dataflow's worker and Flex Template launcher in one image, in two variants:
#
#   docker build --target cpu --tag affectline-cpu .
#   docker build --target gpu --tag affectline-gpu .
#
# It also runs the command by itself:
#
#   docker run --rm --volume "$PWD:/data" affectline-cpu affectline run /data/videos --output /data/out
#
# The base is plain Python, not NVIDIA's image: the wheels that TensorFlow itself asks for bring the CUDA
# and cuDNN it was built against, and Dataflow mounts the driver. There is one CUDA instead of two, and
# its version cannot drift away from TensorFlow's.
#
# The user is root, since Dataflow mounts root's folders below /var/opt for the worker to write to, and
# the template launcher logs below /var/log; as another user both fail.

ARG PYTHON=3.11
ARG BEAM=2.77.0

FROM apache/beam_python${PYTHON}_sdk:${BEAM} AS beam
FROM gcr.io/dataflow-templates-base/python311-template-launcher-base:20230622_RC00 AS launcher

FROM python:${PYTHON}-slim-bookworm AS package
WORKDIR /source
COPY setup.py pyproject.toml README.md LICENSE affectline_command.py ./
COPY affectline affectline
COPY schemas schemas
COPY models models
COPY transforms transforms
COPY pipeline pipeline
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim-bookworm AS base
COPY --from=beam /opt/apache/beam /opt/apache/beam
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher
COPY flex_template/main.py /template/
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/main.py \
    TF_CPP_MIN_LOG_LEVEL=2
COPY docker/entrypoint /opt/affectline/entrypoint
ENTRYPOINT ["/opt/affectline/entrypoint"]

FROM base AS cpu
COPY docker/requirements-cpu.txt /template/
RUN pip install --no-cache-dir --no-deps --requirement /template/requirements-cpu.txt
COPY --from=package /wheels /wheels
RUN pip install --no-cache-dir --no-deps /wheels/*.whl
# Dataflow starts a process for each vCPU; each computes with one thread.
ENV TF_NUM_INTRAOP_THREADS=1 \
    OMP_NUM_THREADS=1

FROM base AS gpu
COPY docker/requirements-gpu.txt /template/
RUN pip install --no-cache-dir --no-deps --requirement /template/requirements-gpu.txt
COPY --from=package /wheels /wheels
RUN pip install --no-cache-dir --no-deps /wheels/*.whl && pip check
# Where Dataflow mounts the driver.
ENV PATH=/usr/local/nvidia/bin:${PATH} \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib64
