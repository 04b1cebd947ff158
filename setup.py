from setuptools import find_packages, setup

SUB_PACKAGES = [f"tokenwire.{name}" for name in find_packages("src")]
setup(packages=["tokenwire", *SUB_PACKAGES])
