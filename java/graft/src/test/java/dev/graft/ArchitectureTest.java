package dev.graft;

import static com.tngtech.archunit.base.DescribedPredicate.not;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.Architectures.layeredArchitecture;

import com.tngtech.archunit.core.importer.ImportOption.DoNotIncludeTests;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** The arrows of the layers: each knows only those below it. */
@AnalyzeClasses(packages = "dev.graft", importOptions = DoNotIncludeTests.class)
class ArchitectureTest {
  private static final String QUICKSTART = "quickstart";
  private static final String VERIFY = "verify";
  private static final String FACE = "face";
  private static final String TRAIN = "train";
  private static final String APPLY = "apply";
  private static final String MODEL = "model";
  private static final String METRICS = "metrics";
  private static final String PROGRAM = "program";
  private static final String DATA = "data";
  private static final String TEXT = "text";
  private static final String IO = "io";
  private static final String RUNTIME = "runtime";
  private static final String BINDINGS = "bindings";

  @ArchTest
  static final ArchRule layers =
      layeredArchitecture()
          .consideringOnlyDependenciesInLayers()
          .layer(QUICKSTART)
          .definedBy("dev.graft.quickstart..")
          .layer(VERIFY)
          .definedBy("dev.graft.verify..")
          .layer(FACE)
          .definedBy("dev.graft")
          .layer(TRAIN)
          .definedBy("dev.graft.train..")
          .layer(APPLY)
          .definedBy("dev.graft.apply..")
          .layer(MODEL)
          .definedBy("dev.graft.model..")
          .layer(METRICS)
          .definedBy("dev.graft.metrics..")
          .layer(PROGRAM)
          .definedBy("dev.graft.program..")
          .layer(DATA)
          .definedBy("dev.graft.data..")
          .layer(TEXT)
          .definedBy("dev.graft.text..")
          .layer(IO)
          .definedBy("dev.graft.io..")
          .layer(RUNTIME)
          .definedBy("dev.graft.runtime..")
          .layer(BINDINGS)
          .definedBy("dev.graft.bindings..")
          .whereLayer(QUICKSTART)
          .mayNotBeAccessedByAnyLayer()
          .whereLayer(VERIFY)
          .mayNotBeAccessedByAnyLayer()
          .whereLayer(FACE)
          .mayOnlyBeAccessedByLayers(QUICKSTART)
          .whereLayer(TRAIN)
          .mayOnlyBeAccessedByLayers(QUICKSTART, FACE)
          .whereLayer(APPLY)
          .mayOnlyBeAccessedByLayers(QUICKSTART, FACE)
          .whereLayer(MODEL)
          .mayOnlyBeAccessedByLayers(QUICKSTART, VERIFY, FACE, TRAIN, APPLY)
          .whereLayer(METRICS)
          .mayOnlyBeAccessedByLayers(FACE, TRAIN, APPLY)
          .whereLayer(PROGRAM)
          .mayOnlyBeAccessedByLayers(VERIFY, FACE, TRAIN, APPLY, MODEL)
          .whereLayer(DATA)
          .mayOnlyBeAccessedByLayers(QUICKSTART, VERIFY, FACE, TRAIN, APPLY, MODEL)
          .whereLayer(TEXT)
          .mayOnlyBeAccessedByLayers(QUICKSTART, FACE, TRAIN, APPLY, MODEL, DATA)
          .whereLayer(IO)
          .mayOnlyBeAccessedByLayers(QUICKSTART, VERIFY, FACE, TRAIN, APPLY, MODEL, DATA, TEXT);

  /** Runtime and bindings know nothing above them. */
  @ArchTest
  static final ArchRule runtime =
      classes()
          .that()
          .resideInAnyPackage("dev.graft.runtime..", "dev.graft.bindings..")
          .should()
          .onlyDependOnClassesThat(
              resideInAnyPackage("dev.graft.runtime..", "dev.graft.bindings..")
                  .or(not(resideInAPackage("dev.graft.."))));

  /** libtorch is a peer to compare with and to lend kernels to, never a part of Graft. */
  @ArchTest
  static final ArchRule libtorch =
      noClasses()
          .that()
          .resideOutsideOfPackages("dev.graft.torch..", "dev.graft.dist..", "dev.graft.bench..")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("org.bytedeco.pytorch..");

  /** One door to the tokenizers' library, behind which nothing is truncated. */
  @ArchTest
  static final ArchRule tokenizers =
      noClasses()
          .that()
          .resideOutsideOfPackage("dev.graft.text..")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("ai.djl..");
}
