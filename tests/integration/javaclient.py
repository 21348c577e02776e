"""Java clients under test: compiled from source against Debian's jars."""
import pathlib
import shutil
import subprocess

JARS = ("zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-nop")
FOLDER = pathlib.Path("/usr/share/java")


def missing(jars=JARS[:2], package="libzookeeper-java"):
    """None when sources can be compiled against these jars, else what is missing."""
    if not shutil.which("javac"):
        return "no javac (apt-get install default-jdk-headless)"
    absent = [j for j in jars if not (FOLDER / f"{j}.jar").exists()]
    return f"no {absent} (apt-get install {package})" if absent else None


def command(source, out, jars=JARS, heap="128m"):
    """Compiles the source into the folder; the command that runs its class of the same name, without arguments."""
    path = ":".join(str(FOLDER / f"{j}.jar") for j in jars if (FOLDER / f"{j}.jar").exists())
    subprocess.run(["javac", "-proc:none", "-nowarn", "-cp", path, "-d", out, source], check=True, timeout=300)
    return ["java", f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.language=en", "-cp", f"{out}:{path}", source.stem]
